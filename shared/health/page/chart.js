// Chart: one card with its lines, their legend and the time under the cursor.
"use strict";

const Chart = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = 8;
  const binary = Array.from({ length: 50 }, (_, i) => 2 ** i); // ticks of what is counted in KiB

  function el(tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  return class Chart {
    // zoom is called with two times in milliseconds when a range was dragged.
    constructor(id, zoom) {
      this.id = id;
      this.zoom = zoom;
      this.kind = Catalogue.kinds[Catalogue.wordOf(id)];
      this.card = el("article", "card");
      this.card.dataset.chart = id;
      const h = el("h2", "", Catalogue.title(id));
      this.time = el("span", "quiet");
      h.append(this.time);
      this.plot = el("div", "plot");
      this.plot.setAttribute("role", "img");
      this.legend = el("div", "legend");
      this.card.append(h, this.plot, this.legend);
    }

    // offer puts a button under the chart.
    offer(text, click) {
      if (this.button) { this.button.textContent = text; return; }
      this.button = el("button", "more", text);
      this.button.type = "button";
      this.button.addEventListener("click", click);
      this.card.append(this.button);
    }

    draw(series, view) {
      const key = series.map((s) => s.label).join("\n") + (view.stepMs >= 60e3);
      // Long steps hide peaks: few lines have room for the band of their extremes.
      this.banded = view.stepMs >= 60e3 && series.length <= 2 && !this.kind.stacked;
      this.columns = this.banded ? ["avg", "max", "min"] : ["avg"];
      this.series = series;
      this.view = view;
      this.raw = Series.lines(series, view.stepMs, this.columns);
      this.data = this.kind.stacked ? Series.stack(this.raw) : this.raw;
      if (this.u && this.key === key) {
        this.u.setData(this.data, false);
        this.u.setScale("x", { min: view.from / 1000, max: view.until / 1000 });
      } else {
        this.key = key;
        this.make();
      }
      this.write(null);
    }

    make() {
      if (this.u) this.u.destroy();
      this.legend.replaceChildren(...this.series.map((s, i) => {
        const item = el("span"), value = el("b");
        item.append(el("i", "k" + (i % colours)), s.label, " ", value);
        return item;
      }));
      const { unit, top, stacked } = this.kind;
      const inBytes = unit === Units.bytes || unit === Units.byteRate;
      const axis = { stroke: css("--quiet"), grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
      this.u = new uPlot({
        width: this.plot.clientWidth, height: this.plot.clientHeight,
        legend: { show: false }, padding: [10, 6, 0, 0],
        cursor: { y: false, drag: { x: true, y: false, setScale: false }, sync: { key: "board", setSeries: false }, points: { show: !stacked, size: 5 } },
        scales: {
          x: { time: true, range: () => [this.view.from / 1000, this.view.until / 1000] },
          y: { range: (u, min, max) => this.bounds(min, max, top) },
        },
        axes: [
          { ...axis, size: 24, gap: 7, space: 70, values: (u, ticks) => ticks.map((t) => this.tick(t)) },
          { ...axis, size: 68, gap: 4, space: 30, values: (u, ticks) => ticks.map((v) => unit(v, true)), ...(inBytes ? { incrs: binary } : {}), ...(unit === Units.signal ? { splits: () => [0, 1, 2] } : {}) },
        ],
        series: [{}, ...this.series.flatMap((s, i) => this.columns.map((c) => this.line(i, c)))],
        bands: this.bands(),
        hooks: {
          setCursor: [(u) => this.write(u.cursor.idx)],
          setSelect: [(u) => this.selected(u)],
          draw: [(u) => this.marks(u)],
        },
      }, this.data, this.plot);
    }

    // bounds are the ends of the y axis: from 0, except for heat and negative values.
    bounds(min, max, top) {
      if (top) return [0, top];
      if (max == null) return [0, 1];
      if (this.kind.unit === Units.celsius && min > 20) return [Math.floor((min - 2) / 10) * 10, max * 1.08];
      if (min < 0) return [min - 5, Math.max(0, max)];
      return [0, max > 0 ? max * 1.08 : 1];
    }

    line(i, column) {
      const colour = css("--c" + (i % colours));
      const alone = this.series.length === 1 && this.columns.length === 1;
      return {
        label: this.series[i].label, width: column === "avg" ? 1.5 : 0, points: { show: false }, spanGaps: false,
        stroke: column === "avg" ? colour : "transparent",
        fill: this.kind.stacked ? colour + "66" : alone ? colour + "22" : undefined,
      };
    }

    bands() {
      const n = this.series.length;
      if (this.kind.stacked) return Array.from({ length: n - 1 }, (_, i) => ({ series: [i + 1, i + 2] }));
      if (!this.banded) return [];
      return this.series.map((s, i) => ({ series: [3 * i + 2, 3 * i + 3], fill: css("--c" + (i % colours)) + "33" }));
    }

    tick(t) {
      const at = new Date(t * 1000);
      if (this.view.until - this.view.from > 2 * 864e5) return at.toLocaleDateString("sv-SE").slice(5);
      return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    }

    selected(u) {
      const { left, width } = u.select;
      if (width < 8) return;
      const [from, until] = [left, left + width].map((x) => Math.round(u.posToVal(x, "x") * 1000));
      u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      this.zoom(from, until);
    }

    // marks draws a line at each event in the range.
    marks(u) {
      const { ctx, bbox } = u;
      for (const e of this.view.events || []) {
        if (e.time_ms < this.view.from || e.time_ms > this.view.until) continue;
        const x = Math.round(u.valToPos(e.time_ms / 1000, "x", true)) + 0.5;
        ctx.save();
        ctx.strokeStyle = css(e.bad ? "--error" : "--quiet");
        ctx.setLineDash([3, 3]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      }
    }

    // write puts the values under the cursor, or the latest ones, into the legend.
    // A value that is no longer current is grey and says its age.
    write(at) {
      const { unit, stacked } = this.kind;
      const values = this.series.map((s, i) => (at == null ? Series.latest(s, this.view.stepMs, this.view.now) : { value: this.under(i, at), age: null }));
      const sum = stacked ? values.reduce((a, v) => a + (v.age == null ? v.value || 0 : 0), 0) : 0;
      [...this.legend.children].forEach((item, i) => {
        const { value, age } = values[i];
        item.classList.toggle("old", age != null);
        const share = sum > 0 && age == null && value != null ? " · " + Math.round((100 * value) / sum) + " %" : "";
        item.lastChild.textContent = unit(value) + share + (age == null ? "" : " · " + Units.age(age));
      });
      this.time.textContent = at == null ? (stacked ? unit(sum) : "") : Units.when(this.data[0][at] * 1000).slice(5, 19);
      if (at != null) return;
      const said = values.map((v, i) => this.series[i].label + " " + unit(v.value) + (v.age == null ? "" : ", " + Units.age(v.age)));
      this.plot.setAttribute("aria-label", Catalogue.title(this.id) + ": " + said.join("; "));
    }

    // under is the value of line i at an index; of a line with another rhythm the
    // neighbour before it.
    under(i, at) {
      const column = this.raw[i * this.columns.length + 1];
      let j = at;
      while (j > Math.max(0, at - 8) && column[j] == null) j--;
      return column[j];
    }

    resize() { if (this.u && this.plot.clientWidth) this.u.setSize({ width: this.plot.clientWidth, height: this.plot.clientHeight }); }
    redo() { this.key = undefined; }
  };
})();
