// Units: how a number, a span and a time are written.
"use strict";

const Units = (() => {
  // A value is written with three digits; a tick of the axis without idle zeros.
  const digits = (v) => (v === 0 ? "0" : Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(2));
  const scaled = (units, base) => (v, tick) => {
    if (v == null) return "–";
    let i = 0;
    for (; i < units.length - 1 && Math.abs(v) >= base; i++) v /= base;
    return (tick ? String(Number(digits(v))) : digits(v)) + units[i];
  };
  const plain = (suffix) => (v, tick) => (v == null ? "–" : (tick ? String(Number(digits(v))) : digits(v)) + suffix);

  return {
    percent: (v, tick) => (v == null ? "–" : v.toFixed(tick || v >= 10 ? 0 : 1) + " %"),
    celsius: (v, tick) => (v == null ? "–" : v.toFixed(tick ? 0 : 1) + " °C"),
    bytes: scaled([" B", " KiB", " MiB", " GiB", " TiB"], 1024),
    bits: scaled([" bit/s", " kbit/s", " Mbit/s", " Gbit/s"], 1000),
    byteRate: scaled([" B/s", " KiB/s", " MiB/s", " GiB/s"], 1024),
    count: (v) => scaled(["", " k", " M", " G"], 1000)(v, true),
    rate: scaled(["/s", " k/s", " M/s"], 1000),
    load: (v, tick) => (v == null ? "–" : tick ? String(Number(v.toFixed(2))) : v.toFixed(2)),
    ms: plain(" ms"), dbm: plain(" dBm"), volts: plain(" V"),
    signal: (v) => (v == null ? "–" : ["no cable", "no lock", "locked"][Math.round(v)] ?? "–"),

    // Swedish is written as ISO 8601 is, in the time zone of the reader.
    when: (at) => (at ? new Date(at).toLocaleString("sv-SE") : "never"),
    integer: (n) => n.toLocaleString("en").replaceAll(",", "\u202f"),
    span(seconds) {
      if (seconds == null) return "–";
      const s = Math.round(seconds);
      if (s < 60) return s + " s";
      if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
      if (s < 172800) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
      return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
    },
    // The age of a value that is no longer current, in one unit.
    age(seconds) {
      if (seconds < 120) return Math.round(seconds) + " s ago";
      if (seconds < 7200) return Math.round(seconds / 60) + " min ago";
      if (seconds < 172800) return Math.round(seconds / 3600) + " h ago";
      return Math.round(seconds / 86400) + " d ago";
    },
  };
})();
