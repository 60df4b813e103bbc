// Board: all charts of the page and the range that they show.
"use strict";

const Board = (() => {
  const minute = 60e3, hour = 3600e3;
  // Each range has about as many steps as a chart has room for.
  const ranges = {
    "15m": { length: 15 * minute, step: 10e3, name: "15 min" },
    "1h": { length: hour, step: 30e3, name: "1 h" },
    "6h": { length: 6 * hour, step: 3 * minute, name: "6 h" },
    "24h": { length: 24 * hour, step: 10 * minute, name: "24 h" },
    "7d": { length: 168 * hour, step: 70 * minute, name: "7 d" },
  };
  const steps = [10e3, 30e3, minute, 3 * minute, 10 * minute, 30 * minute, 70 * minute];

  return class Board {
    constructor(root, idle) {
      this.root = root;
      this.idle = idle;
      this.charts = new Map();
      this.events = [];
      this.cores = false;
      this.changed = () => {};
      addEventListener("resize", () => this.charts.forEach((c) => c.resize()));
      idle.addEventListener("toggle", () => this.charts.forEach((c) => c.resize()));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.charts.forEach((c) => c.redo()); this.draw(); });
      this.open(new URLSearchParams(location.search));
    }

    // open takes the range from the address: ?range=6h, or ?from=…&until=… in ms.
    open(query) {
      const from = Number(query.get("from")), until = Number(query.get("until"));
      const name = ranges[query.get("range")] ? query.get("range") : "1h";
      if (from > 0 && until - from >= 10e3 && until - from <= 168 * hour) this.zoomTo(from, until, name);
      else this.show(name);
    }

    // show follows the present over a named range.
    show(name) {
      this.name = name;
      this.zoomed = null;
      this.begin(ranges[name].step);
    }

    // zoomTo shows a fixed range, in steps as fine as fit.
    zoomTo(from, until, name = this.name) {
      const stepMs = steps.find((s) => (until - from) / s <= 150) || steps[steps.length - 1];
      this.name = name;
      this.zoomed = { from: Math.floor(from / stepMs) * stepMs, until: Math.ceil(until / stepMs) * stepMs };
      this.begin(stepMs);
    }

    begin(stepMs) {
      this.stepMs = stepMs;
      this.store = new Series.Store();
      this.turn = {};
      this.sampledMs = 0;
      this.stale = true;
      const query = this.zoomed ? `from=${this.zoomed.from}&until=${this.zoomed.until}&range=${this.name}` : "range=" + this.name;
      history.replaceState(null, "", this.name === "1h" && !this.zoomed ? location.pathname : "?" + query);
    }

    // due says how long an answer stays new: a step, or for ever when zoomed.
    get due() { return this.stale ? 0 : this.zoomed ? Infinity : Math.max(30e3, this.stepMs); }

    // update asks for what is new and draws. Why there is nothing new is in fault.
    async update() {
      const turn = this.turn, query = new URLSearchParams({ step: this.stepMs / 1000 + "s" });
      if (this.zoomed) {
        query.set("since", this.zoomed.from);
        query.set("until", this.zoomed.until);
      } else {
        // One step again: it was not over when it was asked for.
        query.set("since", this.store.until ? String(Math.floor(this.store.until / this.stepMs) * this.stepMs - this.stepMs) : ranges[this.name].length / 1000 + "s");
      }
      const response = await fetch("/api/charts?" + query);
      const answer = await response.json();
      if (turn !== this.turn) return; // another range was chosen meanwhile
      this.fault = response.ok ? "" : answer.error;
      if (!response.ok) return;
      this.now = answer.now_ms;
      this.stale = false;
      this.sampledMs = Math.max(this.sampledMs, answer.sampled_ms);
      this.store.add(answer, this.zoomed ? 0 : this.now - ranges[this.name].length);
      this.draw();
    }

    // note is what must be known of the points that are shown; "" for nothing.
    note() {
      // Without a point the status says why.
      if (this.fault) return this.store.first() === undefined ? "" : "The charts are not current: " + this.fault + ".";
      if (!this.sampledMs) return "";
      return `Each point shows the first ${Units.span(this.sampledMs / 1000)} of ${Units.span(this.stepMs / 1000)}: this range has more samples than are read at once.`;
    }

    // view is what a chart must know besides its series. The range starts with
    // the first sample.
    view() {
      const until = this.zoomed ? this.zoomed.until : this.now;
      let from = this.zoomed ? this.zoomed.from : until - ranges[this.name].length;
      if (!this.zoomed) from = Math.min(Math.max(from, this.store.first() ?? from), until - 60e3);
      return { from, until, now: this.now, stepMs: this.stepMs, events: this.events };
    }

    // wanted sorts the series into charts: id → series with label and factor.
    wanted() {
      const all = new Map(), put = (id, s) => { if (!all.has(id)) all.set(id, []); all.get(id).push(s); };
      for (const s of this.store.series.values()) {
        if (!s.t.length) continue;
        if (Catalogue.isLink(s) && s.avg.some((v) => v > 0)) put("links", { ...s, label: s.tags.interface, factor: 8 });
        const at = Catalogue.place(s);
        if (at) put(at[0], { ...s, label: at[1], factor: at[2] || 1 });
      }
      const cpu = all.get("cpu"), single = cpu?.filter((s) => s.label.startsWith("core ")) || [];
      if (single.length > 0) {
        const rest = cpu.filter((s) => !s.label.startsWith("core "));
        all.set("cpu", rest.concat(this.cores ? single : single.length > 1 ? Series.spread(single) : []));
      }
      this.coreCount = single.length;
      for (const series of all.values()) series.sort(Catalogue.byLabel);
      return all;
    }

    draw() {
      if (this.now === undefined) return;
      const wanted = this.wanted(), view = this.view();
      const ids = [...wanted.keys()].sort(Catalogue.byPlace);
      const still = new Set(ids.filter((id) => Catalogue.foldsWhenStill(id) && wanted.get(id).every((s) => s.avg.every((v) => !v))));
      for (const [id, c] of this.charts) if (!wanted.has(id)) { c.card.remove(); this.charts.delete(id); }
      const grid = this.idle.querySelector(".grid");
      for (const id of ids) {
        if (!this.charts.has(id)) this.charts.set(id, new Chart(id, (from, until) => { this.zoomTo(from, until); this.changed(); }));
        const chart = this.charts.get(id), home = still.has(id) ? grid : this.root;
        if (chart.card.parentNode !== home) home.append(chart.card);
        chart.draw(wanted.get(id), view);
        if (id === "cpu" && this.coreCount > 1) chart.offer(this.cores ? "summary" : this.coreCount + " single cores", () => { this.cores = !this.cores; this.draw(); });
      }
      this.idle.hidden = still.size === 0;
      this.idle.firstElementChild.textContent = still.size + (still.size === 1 ? " chart" : " charts") + " without movement";
      this.sort(ids.filter((id) => !still.has(id)), this.root);
      this.headline(wanted, view);
    }

    // sort puts the cards into their order without touching those that are right.
    sort(ids, home) {
      ids.forEach((id, i) => { const card = this.charts.get(id).card; if (home.children[i] !== card) home.insertBefore(card, home.children[i] || null); });
    }

    // headline keeps what the operator asks first: is it live, and how much goes out.
    headline(wanted, view) {
      const latest = (s) => Series.latest(s, view.stepMs, view.now);
      const active = [...this.store.series.values()].find((s) => s.name === "stream.active");
      const links = (wanted.get("links") || []).map(latest).filter((v) => v.age == null && v.value > 0);
      const live = active && latest(active);
      this.facts = {
        live: live ? (live.age != null ? "unknown" : live.value >= 0.5 ? "live" : "not live") : null,
        liveAge: live?.age, sent: links.reduce((a, v) => a + v.value, 0), links: links.length,
      };
    }
  };
})();
