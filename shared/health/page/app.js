// The page: asks for the status and the samples while it is looked at, and
// writes what it is told. Everything goes in as text, never as markup.
"use strict";

(() => {
  const statusEvery = 2000, chartsEvery = 10000;
  const $ = (id) => document.getElementById(id);
  const { unit } = Charts;
  const board = new Charts.Board($("charts"));

  function el(tag, text, className) {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  }
  // Swedish is written as ISO 8601 is, in the time of whoever looks.
  const when = (at) => (at ? new Date(at).toLocaleString("sv-SE") : "never");
  const count = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
  function span(seconds) {
    if (seconds == null) return "–";
    const s = Math.round(seconds);
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
    if (s < 172800) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
    return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
  }

  function writeReasons(reasons) {
    $("reasons").replaceChildren(...reasons.map((r) => {
      const li = el("li", "", r.severity);
      li.append(el("div", r.message), el("code", r.code + " · " + r.component + " · since " + when(r.since)));
      return li;
    }));
  }

  function writeFacts(s) {
    const u = s.uploader, st = s.storage, t = s.time;
    const state = (d) => (d ? d.state.replace("_", " ") : "–");
    const d = s.daemons || {};
    const facts = [
      ["collector", state(d["metrics-collector"]), "", d["metrics-collector"]?.status],
      ["shipper", u.status === "off" ? "off" : state(d["metrics-shipper"]), "", d["metrics-shipper"]?.status],
      ["last delivery", u.last_upload ? span(u.upload_age_seconds) : "never", u.last_upload ? "ago" : ""],
      ["pending", count(u.pending_metrics), "samples"],
      ["delivered", count(st.delivered), "of " + count(st.captured)],
      ["rejected, lost", count(st.rejected) + ", " + count(st.lost), st.held ? count(st.held) + " held" : ""],
      ["database", unit.bytes(st.database_size_bytes), "+ " + unit.bytes(st.wal_size_bytes)],
      ["clock skew", t.ntp_synced === false ? "not trusted" : t.skew_ms == null ? "–" : (t.skew_ms > 0 ? "+" : "") + Math.round(t.skew_ms) + " ms", t.skew_error_ms == null ? "" : "± " + Math.round(t.skew_error_ms)],
    ];
    $("facts").replaceChildren(...facts.map(([name, value, note, status]) => {
      const box = el("div"), dd = el("dd", value, status);
      if (note) dd.append(" ", el("small", note));
      box.append(el("dt", name), dd);
      return box;
    }));
  }

  function writeParts(s) {
    const parts = [...Object.entries(s.daemons || {}).map(([n, d]) => [n, d, d.state.replace("_", " ")]), ...Object.entries(s.collectors || {}).map(([n, c]) => [n, c, c.status])];
    $("rows").replaceChildren(...parts.map(([name, p, state]) => {
      const tr = el("tr");
      tr.append(el("td", name), el("td", state, p.status), el("td", p.heartbeat_age_seconds == null ? "–" : span(p.heartbeat_age_seconds) + " ago"), el("td", when(p.last_success)),
        el("td", count(p.succeeded), "n"), el("td", count(p.failed), "n"), el("td", p.pid ? p.version + ", " + p.pid : "–"),
        el("td", p.last_error ? p.last_error + " (" + when(p.last_error_at) + ")" : "–", "words"));
      return tr;
    }));
  }

  function write(s) {
    document.title = s.status + " · " + s.device_id;
    $("status").textContent = s.status;
    $("status").className = "pill " + s.status;
    $("device").textContent = s.device_id;
    $("clock").textContent = when(s.timestamp) + " · version " + s.version;
    writeReasons(s.reasons);
    writeFacts(s);
    writeParts(s);
    document.body.dataset.updated = s.timestamp;
  }

  // every runs fn now and again, and not while nobody looks or the last is on its way.
  function every(ms, fn) {
    let running = false, again = false;
    const run = async (now) => {
      if (running || document.hidden) { again = now === true; return; }
      running = true;
      try { $("lost").hidden = await fn(); } catch { $("lost").hidden = false; } finally { running = false; }
      if (again) { again = false; run(); }
    };
    setInterval(() => run(), ms);
    document.addEventListener("visibilitychange", () => run());
    run();
    return run;
  }

  every(statusEvery, async () => {
    const response = await fetch("/api/status");
    write(await response.json());
    return true;
  });
  const charts = every(chartsEvery, async () => {
    await board.update();
    document.body.dataset.charts = String(Number(document.body.dataset.charts || 0) + 1);
    return true;
  });

  $("ranges").addEventListener("click", (e) => {
    const hours = Number(e.target.dataset.hours);
    if (!hours) return;
    for (const b of $("ranges").children) b.setAttribute("aria-pressed", String(b === e.target));
    board.show(hours);
    charts(true);
  });
})();
