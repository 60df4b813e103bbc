// Series: the points of the range that is shown, and how they become lines. A
// step without samples is a gap in the line.
"use strict";

const Series = (() => {
  const columns = ["t", "avg", "min", "max"];

  // A Store holds the points of every series, cut to the range that is shown.
  class Store {
    constructor() { this.series = new Map(); this.until = 0; }

    // add takes an answer of /api/charts; what it covers replaces what was there,
    // as the last step was not over.
    add(answer, oldest) {
      for (const s of answer.series) {
        const key = s.name + JSON.stringify(s.tags);
        const have = this.series.get(key) || { name: s.name, tags: s.tags, t: [], avg: [], min: [], max: [] };
        let keep = have.t.length, from = 0;
        while (keep > 0 && have.t[keep - 1] >= answer.since_ms) keep--;
        while (from < keep && have.t[from] < oldest) from++;
        const t = [];
        for (let i = 0; i < s.steps.length; i += 2) for (let k = 0; k < s.steps[i + 1]; k++) t.push(answer.since_ms + (s.steps[i] + k) * answer.step_ms);
        const got = { t, avg: s.avg, min: s.min || s.avg, max: s.max || s.avg };
        for (const c of columns) have[c] = have[c].slice(from, keep).concat(got[c]);
        this.series.set(key, have);
      }
      this.until = Math.max(this.until, answer.until_ms);
    }

    // first is the time of the oldest point, or nothing.
    first() {
      const starts = [...this.series.values()].filter((s) => s.t.length).map((s) => s.t[0]);
      return starts.length ? Math.min(...starts) : undefined;
    }
  }

  // usual is the distance at which points of a series follow each other.
  function usual(t, stepMs) {
    const gaps = [];
    for (let i = 1; i < t.length; i++) gaps.push(t[i] - t[i - 1]);
    gaps.sort((a, b) => a - b);
    return Math.max(stepMs, gaps.length ? gaps[gaps.length >> 1] : 0);
  }

  // lines gives the aligned columns that uPlot draws: a null where one series has
  // nothing between two points that are further apart than its points usually are.
  // Each series gives a column for every name in wanted.
  function lines(all, stepMs, wanted = ["avg"]) {
    const tables = all.map((s) => {
      const apart = usual(s.t, stepMs);
      const t = [], out = wanted.map(() => []);
      for (let i = 0; i < s.t.length; i++) {
        if (i > 0 && s.t[i] - s.t[i - 1] > 2.5 * apart) { t.push((s.t[i - 1] + apart) / 1000); out.forEach((c) => c.push(null)); }
        t.push(s.t[i] / 1000);
        out.forEach((c, k) => { const v = s[wanted[k]][i]; c.push(v == null ? null : v * (s.factor || 1)); });
      }
      return [t, ...out];
    });
    // A null of a series is a gap (mode 1); a step that only another series has is none.
    return uPlot.join(tables, tables.map((t) => t.map((_, i) => (i ? 1 : 0))));
  }

  // stack adds up the columns, the last line lowest: line i of the result is the
  // sum of series i and all after it. Where none has a value there is a gap; where
  // only some have none, those add nothing, and the others still reach the ground.
  function stack(data) {
    const [t, ...values] = data, sums = values.map(() => []);
    for (let i = 0; i < t.length; i++) {
      let sum = 0;
      const any = values.some((column) => column[i] != null);
      for (let k = values.length - 1; k >= 0; k--) {
        sum += values[k][i] ?? 0;
        sums[k].push(any ? sum : null);
      }
    }
    return [t, ...sums];
  }

  // spread turns the series of many cores into their smallest, mean and largest.
  function spread(cores) {
    const at = new Map();
    for (const s of cores) s.t.forEach((t, i) => { if (s.avg[i] != null) { if (!at.has(t)) at.set(t, []); at.get(t).push(s.avg[i]); } });
    const t = [...at.keys()].sort((a, b) => a - b);
    const of = (fn) => { const avg = t.map((k) => fn(at.get(k))); return { name: "cores", tags: {}, t, avg, min: avg, max: avg }; };
    return [
      { ...of((v) => Math.max(...v)), label: "busiest core" },
      { ...of((v) => v.reduce((a, b) => a + b, 0) / v.length), label: "mean of the cores" },
      { ...of((v) => Math.min(...v)), label: "idlest core" },
    ];
  }

  // latest is the last value, and how old it is in seconds when it is no longer
  // current: older than three usual distances of its points, and a minute and a half.
  function latest(s, stepMs, now) {
    let i = s.t.length - 1;
    while (i >= 0 && s.avg[i] == null) i--;
    if (i < 0) return { value: null, age: null };
    const late = now - s.t[i];
    return { value: s.avg[i] * (s.factor || 1), age: late > Math.max(3 * usual(s.t, stepMs), stepMs + 90e3) ? late / 1000 : null };
  }

  return { Store, lines, stack, spread, latest };
})();
