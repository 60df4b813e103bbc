// Status: the report of /api/status and the events of /api/events as text.
// Everything goes in as text, never as markup.
"use strict";

const Status = (() => {
  const $ = (id) => document.getElementById(id);
  const { when, integer, span, bytes } = Units;

  function el(tag, text, className) {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  }

  function reasons(list) {
    $("reasons").hidden = list.length === 0;
    $("reasons").replaceChildren(...list.map((r) => {
      const li = el("li", "", r.severity);
      li.append(el("div", r.message));
      if (r.hint) li.append(el("div", r.hint, "hint"));
      li.append(el("code", r.code + " · " + r.component + " · since " + when(r.since)));
      return li;
    }));
  }

  // since is how many seconds ago a report came here for the first time: a report
  // that did not change is shown again, and its ages grow.
  let shown = "", shownAt = 0;
  function since(s) {
    if (s.timestamp !== shown) { shown = s.timestamp; shownAt = performance.now(); }
    return (performance.now() - shownAt) / 1000;
  }

  function facts(s, more) {
    const u = s.uploader, st = s.storage, t = s.time, d = s.daemons || {};
    const state = (x) => (x ? x.state.replaceAll("_", " ") : "–");
    const list = [
      ["collector", state(d["metrics-collector"]), "", d["metrics-collector"]?.status],
      ["shipper", u.status === "off" ? "off" : state(d["metrics-shipper"]), "", d["metrics-shipper"]?.status],
      ["last delivery", u.last_upload ? span(u.upload_age_seconds + more) : "never", u.last_upload ? "ago" : ""],
      ["pending", integer(u.pending_metrics), "samples"],
      ["delivered", integer(st.delivered), "of " + integer(st.captured)],
      ["rejected, lost", integer(st.rejected) + ", " + integer(st.lost), st.held ? integer(st.held) + " held" : ""],
      ["database", bytes(st.database_size_bytes), "+ " + bytes(st.wal_size_bytes)],
      ["clock skew", t.trusted === false || (t.trusted === undefined && t.ntp_synced === false) ? "not trusted" : t.skew_ms == null ? "–" : (t.skew_ms > 0 ? "+" : "") + Math.round(t.skew_ms) + " ms", t.skew_error_ms == null ? "" : "± " + Math.round(t.skew_error_ms)],
    ];
    $("facts").replaceChildren(...list.map(([name, value, note, status]) => {
      const box = el("div"), dd = el("dd", value, status);
      if (note) dd.append(" ", el("small", note));
      box.append(el("dt", name), dd);
      return box;
    }));
  }

  function components(s, more) {
    const all = [...Object.entries(s.daemons || {}).map(([n, d]) => [n, d, d.state.replaceAll("_", " ")]), ...Object.entries(s.collectors || {}).map(([n, c]) => [n, c, c.status])];
    $("rows").replaceChildren(...all.map(([name, p, state]) => {
      const tr = el("tr");
      tr.append(el("td", name), el("td", state, p.status), el("td", p.heartbeat_age_seconds == null ? "–" : span(p.heartbeat_age_seconds + more) + " ago"), el("td", when(p.last_success)),
        el("td", integer(p.succeeded), "n"), el("td", integer(p.failed), "n"), el("td", p.pid ? p.version + ", " + p.pid : "–"),
        el("td", p.last_error ? p.last_error + " (" + when(p.last_error_at) + ")" : "–", "words"));
      return tr;
    }));
  }

  return {
    write(s) {
      document.title = s.status + " · " + s.device_id;
      $("status").textContent = s.status;
      $("status").className = "pill " + s.status;
      $("device").textContent = s.device_id;
      $("clock").textContent = when(s.timestamp) + " · version " + s.version;
      reasons(s.reasons);
      const more = since(s);
      facts(s, more);
      components(s, more);
      document.body.dataset.updated = s.timestamp;
    },

    // headline answers whether the board is live and how much it sends.
    headline(f) {
      const p = $("headline"), parts = [];
      if (f.live) {
        const text = f.live === "live" ? "LIVE" : f.live === "not live" ? "not live" : "not known whether live, " + Units.age(f.liveAge);
        parts.push(el("strong", text, f.live === "live" ? "ok" : ""));
      }
      parts.push(el("span", f.links ? Units.bits(f.sent) + " over " + f.links + (f.links === 1 ? " link" : " links") : "nothing is sent"));
      p.hidden = false;
      p.replaceChildren(...parts.flatMap((x, i) => (i ? [" · ", x] : [x])));
    },

    events(list) {
      $("events").hidden = list.length === 0;
      $("events").querySelector("ol").replaceChildren(...list.map((e) => {
        const li = el("li", "", e.bad ? "bad" : "");
        const time = el("time", when(e.time_ms));
        time.dateTime = new Date(e.time_ms).toISOString();
        li.append(time, " ", el("b", e.source), " ", el("span", e.text));
        return li;
      }));
    },
  };
})();
