// The catalogue: which chart a series belongs to, what its line is called there,
// and in which order the charts stand.
"use strict";

const Catalogue = (() => {
  const u = Units;
  // Each chart: title, unit, and what else is special about it. A title that ends
  // in a space is followed by the chart's own name.
  const kinds = {
    links: { title: "Sent over all links", unit: u.bits, stacked: true },
    stream: { title: "Stream, target bitrate", unit: u.bits },
    rtt: { title: "Links, round trip", unit: u.ms },
    nak: { title: "Links, packets asked for again", unit: u.rate },
    drops: { title: "Stream, datagrams dropped on the board", unit: u.rate },
    received: { title: "Streams received", unit: u.bits },
    hdmi: { title: "HDMI input", unit: u.signal, top: 2 },
    modems: { title: "Modems, signal", unit: u.percent, top: 100 },
    rsrp: { title: "Modems, RSRP", unit: u.dbm },
    temperature: { title: "Temperature", unit: u.celsius },
    cpu: { title: "CPU", unit: u.percent, top: 100 },
    soc: { title: "GPU, NPU, memory, codec", unit: u.percent, top: 100 },
    units: { title: "Encoder, processor time", unit: u.percent },
    pressure: { title: "Waiting for processor, disk, memory", unit: u.percent, top: 100 },
    udp: { title: "UDP, datagrams lost on the board", unit: u.rate },
    fan: { title: "Fan", unit: u.percent, top: 100 },
    power: { title: "Power", unit: u.volts },
    memory: { title: "Memory", unit: u.bytes },
    load: { title: "Load", unit: u.load },
    net: { title: "Network ", unit: u.bits },
    backlog: { title: "Backlog, samples", unit: u.count },
    delivery: { title: "Delivery, samples", unit: u.rate },
    traffic: { title: "Delivery, traffic", unit: u.bits },
    disk: { title: "Disk ", unit: u.byteRate },
    space: { title: "Space on ", unit: u.bytes },
    wear: { title: "Flash, life used up", unit: u.percent, top: 110 },
  };
  const order = Object.keys(kinds);

  const link = (t) => t.interface || t.link || "link";
  const places = {
    "stream.bitrate_max_bps": () => ["stream", "target"],
    "stream.link_rtt_ms": (t) => ["rtt", link(t)],
    "stream.link_nak_total": (t) => ["nak", link(t)],
    "stream.relay_dropped_total": () => ["drops", "dropped"],
    "receiver.bits_per_second": (t) => ["received", t.stream],
    "receiver.rtt_ms": (t) => ["rtt", "stream " + t.stream],
    "hdmi.signal": (t) => ["hdmi", "input " + (t.input ?? "")],
    "modem.signal_percent": (t) => ["modems", t.interface || t.modem],
    "modem.rsrp_dbm": (t) => ["rsrp", t.interface || t.modem],
    "cpu.temperature": () => ["temperature", "hottest"],
    "thermal.zone_temp": (t) => ["temperature", t.zone + (t.index === undefined ? "" : " " + t.index)],
    "cpu.usage_percent": (t) => ["cpu", t.core === "all" ? "all cores" : "core " + t.core],
    "cpu.iowait_percent": () => ["cpu", "waiting for I/O"],
    "soc.load_percent": (t) => ["soc", t.unit],
    "soc.codec_load_percent": (t) => ["soc", t.core],
    "unit.cpu_seconds_total": (t) => ["units", t.unit.replace(/\.service$/, ""), 100],
    "pressure.waiting_seconds_total": (t) => ["pressure", t.resource, 100],
    "udp.rcvbuf_errors_total": () => ["udp", "not read in time"],
    "udp.sndbuf_errors_total": () => ["udp", "not sent in time"],
    "storage.temperature_celsius": (t) => ["temperature", t.device + " " + t.sensor],
    "storage.life_used_percent": (t) => ["wear", t.device + " " + t.type],
    "fan.pwm_percent": () => ["fan", "duty"],
    "power.volts": (t) => ["power", t.sensor],
    "memory.used_bytes": () => ["memory", "used"],
    "memory.available_bytes": () => ["memory", "available"],
    "memory.swap_used_bytes": () => ["memory", "swap used"],
    "system.load1": () => ["load", "1 minute"],
    "network.rx_bytes_total": (t) => ["net " + t.interface, "received", 8],
    "network.tx_bytes_total": (t) => ["net " + t.interface, "sent", 8],
    "storage.metrics_pending_upload": () => ["backlog", "pending"],
    "uploader.metrics_uploaded_total": () => ["delivery", "samples"],
    "uploader.bytes_sent_total": () => ["traffic", "sent", 8],
    "disk.read_bytes_total": (t) => ["disk " + t.device, "read"],
    "disk.write_bytes_total": (t) => ["disk " + t.device, "written"],
    "disk.used_bytes": (t) => ["space " + t.mountpoint, "used"],
    "disk.available_bytes": (t) => ["space " + t.mountpoint, "available"],
  };
  // What lies over other links would be counted twice in their sum.
  const layered = /^(bond|br-|br\d|virbr|veth|docker|tun|tap|wg|ppp.*\.|.*\.\d+$|.*@)/;

  const collate = new Intl.Collator("en", { numeric: true });
  const rank = (label) => (label === "hottest" || label === "all cores" ? 0 : label.startsWith("core ") ? 2 : 1);

  return {
    kinds,
    wordOf: (id) => id.split(" ")[0],
    title(id) {
      const { title } = kinds[this.wordOf(id)];
      return title.endsWith(" ") ? title + id.slice(this.wordOf(id).length + 1) : title;
    },
    byPlace: (a, b) => order.indexOf(a.split(" ")[0]) - order.indexOf(b.split(" ")[0]) || collate.compare(a, b),
    byLabel: (a, b) => rank(a.label) - rank(b.label) || collate.compare(a.label, b.label),
    // place gives [chart, label, factor] of a series, or nothing.
    place: (s) => places[s.name]?.(s.tags),
    isLink: (s) => s.name === "network.tx_bytes_total" && !layered.test(s.tags.interface),
    // A chart that says nothing while all its values are 0.
    foldsWhenStill: (id) => ["net", "nak", "drops", "udp", "disk"].includes(id.split(" ")[0]),
  };
})();
