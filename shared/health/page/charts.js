// Charts: what is drawn, how answers of /api/query become lines, and how lines
// are kept up to date. A step without samples is a gap in the line.
"use strict";

const Charts = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = 8;

  // A value is written with three digits; a tick of the axis without idle zeros.
  const digits = (v) => (v === 0 ? "0" : Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(2));
  const scaled = (units, base) => (v, tick) => {
    if (v == null) return "–";
    let i = 0;
    for (; i < units.length - 1 && Math.abs(v) >= base; i++) v /= base;
    return (tick ? String(Number(digits(v))) : digits(v)) + units[i];
  };
  const unit = {
    percent: (v, tick) => (v == null ? "–" : v.toFixed(tick || v >= 10 ? 0 : 1) + " %"),
    celsius: (v, tick) => (v == null ? "–" : v.toFixed(tick ? 0 : 1) + " °C"),
    bytes: scaled([" B", " KiB", " MiB", " GiB", " TiB"], 1024),
    bits: scaled([" bit/s", " kbit/s", " Mbit/s", " Gbit/s"], 1000),
    byteRate: scaled([" B/s", " KiB/s", " MiB/s", " GiB/s"], 1024),
    count: scaled(["", " k", " M", " G"], 1000),
    rate: scaled(["/s", " k/s", " M/s"], 1000),
    load: (v, tick) => (v == null ? "–" : tick ? String(Number(v.toFixed(2))) : v.toFixed(2)),
  };
  const binary = Array.from({ length: 50 }, (_, i) => 2 ** i); // ticks of what is counted in KiB

  // What is asked for: values as they are, and counters as rates.
  const names = {
    0: ["cpu.usage_percent", "cpu.iowait_percent", "cpu.temperature", "thermal.zone_temp", "memory.used_bytes", "memory.available_bytes",
      "memory.swap_used_bytes", "disk.used_bytes", "disk.available_bytes", "system.load1", "storage.metrics_pending_upload"],
    1: ["network.rx_bytes_total", "network.tx_bytes_total", "disk.read_bytes_total", "disk.write_bytes_total",
      "uploader.metrics_uploaded_total", "uploader.bytes_sent_total"],
  };

  // Which chart a series belongs to, and what its line is called there.
  function place(s) {
    const t = s.tags;
    switch (s.name) {
      case "cpu.usage_percent": return t.core === "all" ? ["cpu", "all cores"] : ["cores", "core " + t.core];
      case "cpu.iowait_percent": return ["cpu", "waiting for I/O"];
      case "cpu.temperature": return ["temperature", "hottest"];
      case "thermal.zone_temp": return ["temperature", t.zone + (t.index === undefined ? "" : " " + t.index)];
      case "memory.used_bytes": return ["memory", "used"];
      case "memory.available_bytes": return ["memory", "available"];
      case "memory.swap_used_bytes": return ["memory", "swap used"];
      case "disk.used_bytes": return ["space " + t.mountpoint, "used"];
      case "disk.available_bytes": return ["space " + t.mountpoint, "available"];
      case "disk.read_bytes_total": return ["disk " + t.device, "read"];
      case "disk.write_bytes_total": return ["disk " + t.device, "written"];
      case "network.rx_bytes_total": return ["net " + t.interface, "received", 8];
      case "network.tx_bytes_total": return ["net " + t.interface, "sent", 8];
      case "system.load1": return ["load", "1 minute"];
      case "storage.metrics_pending_upload": return ["backlog", "pending"];
      case "uploader.metrics_uploaded_total": return ["delivery", "samples"];
      case "uploader.bytes_sent_total": return ["traffic of uploads", "sent", 8];
    }
    return null;
  }
  const kinds = {
    cpu: ["CPU", unit.percent, 100], cores: ["CPU by core", unit.percent, 100], temperature: ["Temperature", unit.celsius],
    memory: ["Memory", unit.bytes], load: ["Load", unit.load], net: ["Network ", unit.bits], disk: ["Disk ", unit.byteRate],
    space: ["Space on ", unit.bytes], backlog: ["Backlog, samples", unit.count], delivery: ["Delivery, samples", unit.rate], traffic: ["Delivery, traffic", unit.bits],
  };
  const order = ["cpu", "cores", "temperature", "memory", "net", "backlog", "delivery", "traffic", "disk", "space", "load"];

  // A Store holds the columns of every series, cut to the range that is shown.
  class Store {
    constructor(stepMs) { this.stepMs = stepMs; this.series = new Map(); this.until = 0; }
    add(answer, oldest) {
      for (const s of answer.series) {
        const key = s.name + JSON.stringify(s.tags);
        const have = this.series.get(key) || { name: s.name, tags: s.tags, t: [], min: [], max: [], avg: [] };
        // What the answer covers replaces what was there: the last step was not over.
        let keep = have.t.length;
        while (keep > 0 && have.t[keep - 1] >= answer.since_ms) keep--;
        let from = 0;
        while (from < keep && have.t[from] < oldest) from++;
        for (const c of ["t", "min", "max", "avg"]) have[c] = have[c].slice(from, keep).concat(s[c]);
        this.series.set(key, have);
      }
      this.until = Math.max(this.until, answer.until_ms);
    }
  }

  // lines gives the aligned columns that uPlot draws: a null where one series has
  // nothing between two points that are further apart than its samples usually are.
  // Each series gives a column for every name in wanted.
  function lines(all, stepMs, wanted = ["avg"]) {
    const tables = all.map((s) => {
      const gaps = [];
      for (let i = 1; i < s.t.length; i++) gaps.push(s.t[i] - s.t[i - 1]);
      gaps.sort((a, b) => a - b);
      const usual = Math.max(stepMs, gaps.length ? gaps[gaps.length >> 1] : 0);
      const t = [], columns = wanted.map(() => []);
      for (let i = 0; i < s.t.length; i++) {
        if (i > 0 && s.t[i] - s.t[i - 1] > 2.5 * usual) { t.push((s.t[i - 1] + usual) / 1000); columns.forEach((c) => c.push(null)); }
        t.push(s.t[i] / 1000);
        columns.forEach((c, k) => { const v = s[wanted[k]][i]; c.push(v == null ? null : v * s.factor); });
      }
      return [t, ...columns];
    });
    // A null of a series is a gap (mode 1); a step that only another series has is none.
    return uPlot.join(tables, tables.map((t) => t.map((_, i) => (i ? 1 : 0))));
  }

  class Chart {
    constructor(id, root) {
      this.id = id;
      const word = id.split(" ")[0];
      this.kind = kinds[word];
      this.title = this.kind[0] + (this.kind[0].endsWith(" ") ? id.slice(word.length + 1) : "");
      this.card = document.createElement("article");
      this.card.className = "card";
      this.card.dataset.chart = id;
      const h = document.createElement("h2");
      h.textContent = this.title;
      this.plot = document.createElement("div");
      this.plot.className = "plot";
      this.legend = document.createElement("div");
      this.legend.className = "legend";
      this.card.append(h, this.plot, this.legend);
      root.append(this.card);
    }

    draw(series, from, until, stepMs) {
      const labels = series.map((s) => s.label).join("\n") + (stepMs > 10e3);
      // Long steps hide peaks: few lines have room for the band of their extremes.
      this.banded = stepMs > 10e3 && series.length <= 2;
      this.columns = this.banded ? ["avg", "max", "min"] : ["avg"];
      this.data = lines(series, stepMs, this.columns);
      this.range = [from / 1000, until / 1000];
      if (this.u && this.labels === labels) {
        this.u.setData(this.data, false);
        this.u.setScale("x", { min: this.range[0], max: this.range[1] });
      } else {
        this.labels = labels;
        this.make(series);
      }
      this.say(null);
    }

    make(series) {
      if (this.u) this.u.destroy();
      const [, show, top] = this.kind, per = this.columns.length;
      const inBytes = show === unit.bytes || show === unit.byteRate;
      const axis = { stroke: css("--quiet"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
      this.legend.replaceChildren(...series.map((s, i) => {
        const item = document.createElement("span"), key = document.createElement("i"), value = document.createElement("b");
        key.className = "k" + (i % colours);
        item.append(key, s.label, " ", value);
        return item;
      }));
      this.u = new uPlot({
        width: this.plot.clientWidth, height: this.plot.clientHeight,
        legend: { show: false }, padding: [10, 6, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: "board", setSeries: false }, points: { size: 5 } },
        scales: {
          x: { time: true, range: () => this.range },
          y: { range: (u, min, max) => [show === unit.celsius && min > 20 ? Math.floor((min - 2) / 10) * 10 : Math.min(0, min ?? 0), top || (max > 0 ? max * 1.08 : 1)] },
        },
        axes: [
          { ...axis, size: 24, gap: 7, space: 70, values: (u, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })) },
          { ...axis, size: 68, gap: 4, space: 30, values: (u, ticks) => ticks.map((v) => show(v, true)), ...(inBytes ? { incrs: binary } : {}) },
        ],
        series: [{}, ...series.flatMap((s, i) => this.columns.map((c) => ({
          label: s.label, width: c === "avg" ? 1.5 : 0, points: { show: false }, spanGaps: false,
          stroke: c === "avg" ? css("--c" + (i % colours)) : "transparent",
          fill: series.length === 1 && per === 1 ? css("--c0") + "22" : undefined,
        })))],
        bands: this.banded ? series.map((s, i) => ({ series: [per * i + 2, per * i + 3], fill: css("--c" + (i % colours)) + "33" })) : [],
        hooks: { setCursor: [(u) => this.say(u.cursor.idx)] },
      }, this.data, this.plot);
    }

    // say writes the values under the cursor, or the latest.
    say(at) {
      const show = this.kind[1];
      [...this.legend.children].forEach((item, i) => {
        const column = this.data[i * this.columns.length + 1];
        let j = at ?? column.length - 1;
        const back = j - (at == null ? 40 : 8); // a neighbour of another rhythm
        while (j > Math.max(0, back) && column[j] == null) j--;
        item.lastChild.textContent = show(column[j]);
      });
    }

    resize() { if (this.u) this.u.setSize({ width: this.plot.clientWidth, height: this.plot.clientHeight }); }
  }

  class Board {
    constructor(root) { this.root = root; this.charts = new Map(); this.busy = false; this.show(1); addEventListener("resize", () => this.charts.forEach((c) => c.resize()));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redo()); }

    // show chooses the range; everything is asked for anew.
    show(hours) {
      this.rangeMs = hours * 3600e3;
      this.stepMs = hours * 10e3;
      this.stores = { 0: new Store(this.stepMs), 1: new Store(this.stepMs) };
      this.turn = {};
    }

    // update asks for what is new and draws. It says whether an answer came.
    async update() {
      const turn = this.turn, stores = this.stores;
      let oldest = 0, now = 0;
      for (const rate of [0, 1]) {
        const q = new URLSearchParams({ step: this.stepMs / 1000 + "s", rate: rate });
        // Two steps again: samples of the last round may have come since.
        q.set("since", stores[rate].until ? String(Math.max(1, stores[rate].until - 2 * this.stepMs)) : this.rangeMs / 3600e3 + "h");
        names[rate].forEach((n) => q.append("name", n));
        const response = await fetch("/api/query?" + q);
        const answer = await response.json();
        if (turn !== this.turn) return true; // another range was chosen meanwhile
        if (!response.ok) return response.status === 400; // the status says why
        now = answer.now_ms;
        oldest = now - this.rangeMs;
        stores[rate].add(answer, oldest);
      }
      this.draw(oldest, now);
      return true;
    }

    draw(from, until) {
      const wanted = new Map();
      for (const rate of [0, 1]) {
        for (const s of this.stores[rate].series.values()) {
          const where = place(s);
          if (!where || !s.t.length || s.t[s.t.length - 1] < from) continue;
          const [id, label, factor] = where;
          if (!wanted.has(id)) wanted.set(id, []);
          wanted.get(id).push({ ...s, label, factor: factor || 1 });
        }
      }
      if (wanted.get("cores")?.length === 1) wanted.delete("cores");
      const collate = new Intl.Collator("en", { numeric: true });
      const ids = [...wanted.keys()].sort((a, b) => order.indexOf(a.split(" ")[0]) - order.indexOf(b.split(" ")[0]) || collate.compare(a, b));
      for (const [id, c] of this.charts) if (!wanted.has(id)) { c.card.remove(); this.charts.delete(id); }
      let added = false;
      for (const id of ids) {
        if (!this.charts.has(id)) { this.charts.set(id, new Chart(id, this.root)); added = true; }
        const series = wanted.get(id);
        const rank = (s) => (s.label === "hottest" || s.label === "all cores" ? 0 : 1);
        if (id === "temperature" || id === "cores" || id === "cpu") series.sort((a, b) => rank(a) - rank(b) || collate.compare(a.label, b.label));
        this.charts.get(id).draw(series, from, until, this.stepMs);
      }
      if (added) ids.forEach((id) => this.root.append(this.charts.get(id).card));
    }

    redo() { this.charts.forEach((c) => { c.labels = undefined; }); const now = this.stores[0].until; this.draw(now - this.rangeMs, now); }
  }

  return { Board, unit, lines };
})();
