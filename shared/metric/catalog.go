package metric

import (
	"strings"
)

// Kind is how a metric's values relate to each other over time.
type Kind string

// The kinds. A Histogram is stored as three series families: its name with
// _bucket (cumulative, tag le), _sum and _count.
const (
	Gauge     Kind = "gauge"
	Counter   Kind = "counter"
	Histogram Kind = "histogram"
)

// An Entry is one metric of the catalogue.
type Entry struct {
	Name   string // stored name, dotted
	Wire   string // name at the server; empty: Name with underscores for dots
	Kind   Kind
	Unit   string // percent is 0 to 100
	Tags   string // tag names, comma separated
	Help   string
	Source string // kernel file, system call, or the program that counts
}

// Catalog is every metric that this product stores or sends, in the order of the
// documentation. It is a table: its rows are longer than other lines.
var Catalog = []Entry{
	{"cpu.usage_percent", "", Gauge, "percent", "core", "Time not idle between two readings; core=\"all\" sums the cores present in both. Waiting for I/O counts as idle.", "/proc/stat"},
	{"cpu.iowait_percent", "", Gauge, "percent", "core", "Time idle while I/O was outstanding, all cores.", "/proc/stat"},
	{"cpu.steal_percent", "", Gauge, "percent", "core", "Time used by the hypervisor, all cores.", "/proc/stat"},
	{"cpu.temperature", "cpu_temperature_celsius", Gauge, "celsius", "", "The hottest thermal zone that could be read.", "/sys/class/thermal"},
	{"thermal.zone_temp", "thermal_zone_temp_celsius", Gauge, "celsius", "index, zone", "Temperature of one thermal zone.", "/sys/class/thermal/thermal_zone*/temp"},
	{"memory.used_bytes", "", Gauge, "bytes", "", "MemTotal minus MemAvailable.", "/proc/meminfo"},
	{"memory.available_bytes", "", Gauge, "bytes", "", "Memory that programs can still allocate without swapping, as the kernel estimates it.", "/proc/meminfo"},
	{"memory.total_bytes", "", Gauge, "bytes", "", "Usable memory.", "/proc/meminfo"},
	{"memory.swap_used_bytes", "", Gauge, "bytes", "", "SwapTotal minus SwapFree.", "/proc/meminfo"},
	{"memory.swap_total_bytes", "", Gauge, "bytes", "", "Swap space.", "/proc/meminfo"},
	{"disk.read_ops_total", "", Counter, "operations", "device", "Reads completed.", "/proc/diskstats"},
	{"disk.read_bytes_total", "", Counter, "bytes", "device", "Bytes read; a sector counts as 512 bytes, also on devices with larger ones.", "/proc/diskstats"},
	{"disk.write_ops_total", "", Counter, "operations", "device", "Writes completed.", "/proc/diskstats"},
	{"disk.write_bytes_total", "", Counter, "bytes", "device", "Bytes written; a sector counts as 512 bytes, also on devices with larger ones.", "/proc/diskstats"},
	{"disk.io_time_ms_total", "", Counter, "milliseconds", "device", "Time with I/O in flight.", "/proc/diskstats"},
	{"disk.weighted_io_time_ms_total", "", Counter, "milliseconds", "device", "Time with I/O in flight, times the number in flight.", "/proc/diskstats"},
	{"disk.total_bytes", "", Gauge, "bytes", "mountpoint", "Size of a mounted filesystem.", "statfs(2)"},
	{"disk.used_bytes", "", Gauge, "bytes", "mountpoint", "Size minus free blocks.", "statfs(2)"},
	{"disk.available_bytes", "", Gauge, "bytes", "mountpoint", "Free for users other than root.", "statfs(2)"},
	{"network.rx_bytes_total", "", Counter, "bytes", "interface", "Bytes received.", "/proc/net/dev"},
	{"network.tx_bytes_total", "", Counter, "bytes", "interface", "Bytes sent.", "/proc/net/dev"},
	{"network.rx_packets_total", "", Counter, "packets", "interface", "Packets received.", "/proc/net/dev"},
	{"network.tx_packets_total", "", Counter, "packets", "interface", "Packets sent.", "/proc/net/dev"},
	{"network.rx_errors_total", "", Counter, "packets", "interface", "Receive errors.", "/proc/net/dev"},
	{"network.tx_errors_total", "", Counter, "packets", "interface", "Transmit errors.", "/proc/net/dev"},
	{"network.interfaces_dropped_total", "", Counter, "interfaces", "", "Interfaces left out of a round because max_interfaces was reached.", "network.traffic collector"},
	{"system.load1", "", Gauge, "tasks", "", "Load average over 1 minute.", "/proc/loadavg"},
	{"system.load5", "", Gauge, "tasks", "", "Load average over 5 minutes.", "/proc/loadavg"},
	{"system.load15", "", Gauge, "tasks", "", "Load average over 15 minutes.", "/proc/loadavg"},
	{"system.uptime_seconds", "", Gauge, "seconds", "", "Time since boot, suspend included.", "/proc/uptime"},
	{"soc.frequency_hz", "", Gauge, "hertz", "unit", "Clock of a group of processors, named after its first one, or of a GPU, NPU or memory.", "cpufreq, /sys/class/devfreq"},
	{"soc.frequency_limit_hz", "", Gauge, "hertz", "unit", "Highest clock of the hardware. Reported in every 10th round.", "cpufreq, /sys/class/devfreq"},
	{"soc.frequency_allowed_hz", "", Gauge, "hertz", "unit", "Highest clock that is allowed now for a group of processors: below the limit while it is throttled or set lower.", "cpufreq"},
	{"soc.load_percent", "", Gauge, "percent", "unit", "Load of a GPU, NPU or memory. Only on Rockchip's kernels.", "/sys/class/devfreq/*/load"},
	{"soc.codec_load_percent", "", Gauge, "percent", "core", "Time in which a codec core had a task. Only on Rockchip's kernels, and once load_interval is set.", "/proc/mpp_service/load"},
	{"soc.codec_utilization_percent", "", Gauge, "percent", "core", "Time in which a codec core worked. Only on Rockchip's kernels, and once load_interval is set.", "/proc/mpp_service/load"},
	{"soc.cooling_state", "", Gauge, "steps", "device, index", "Level of a cooling device, which is a fan or the throttling of a unit; 0 is off.", "/sys/class/thermal/cooling_device*"},
	{"soc.cooling_max", "", Gauge, "steps", "device, index", "Highest level of a cooling device. Reported in every 10th round.", "/sys/class/thermal/cooling_device*"},
	{"power.volts", "", Gauge, "volts", "sensor", "Voltage of a supply.", "hwmon, /sys/class/power_supply"},
	{"power.amperes", "", Gauge, "amperes", "sensor", "Current of a supply.", "hwmon, /sys/class/power_supply"},
	{"fan.pwm_percent", "", Gauge, "percent", "sensor", "Duty cycle of a fan.", "hwmon"},
	{"fan.rpm", "", Gauge, "turns a minute", "sensor", "Speed of a fan that reports one.", "hwmon"},
	{"storage.temperature_celsius", "", Gauge, "celsius", "device, sensor", "Temperature of an NVMe or SATA disk.", "hwmon"},
	{"storage.life_used_percent", "", Gauge, "percent", "device, type", "Life of an eMMC that is used up, in steps of 10; 110 is exceeded. Types a and b are its two kinds of memory.", "/sys/bus/mmc/devices/*/life_time"},
	{"storage.pre_eol", "", Gauge, "level", "device", "Spare blocks of an eMMC: 1 normal, 2 warning (80 percent used), 3 urgent.", "/sys/bus/mmc/devices/*/pre_eol_info"},
	{"network.up", "", Gauge, "boolean", "interface", "1 while the interface is up, or if its driver does not report a state.", "/sys/class/net/*/operstate"},
	{"network.carrier_changes_total", "", Counter, "changes", "interface", "Times that the link was connected or disconnected.", "/sys/class/net/*/carrier_changes"},
	{"network.speed_mbps", "", Gauge, "megabits per second", "interface", "Negotiated speed of the link; modems have none. Reported in every 10th round.", "/sys/class/net/*/speed"},
	{"network.rx_dropped_total", "", Counter, "packets", "interface", "Received packets that were dropped.", "/sys/class/net/*/statistics"},
	{"network.tx_dropped_total", "", Counter, "packets", "interface", "Packets that were dropped instead of sent.", "/sys/class/net/*/statistics"},
	{"udp.in_datagrams_total", "", Counter, "datagrams", "", "Datagrams received.", "/proc/net/snmp"},
	{"udp.out_datagrams_total", "", Counter, "datagrams", "", "Datagrams sent.", "/proc/net/snmp"},
	{"udp.no_ports_total", "", Counter, "datagrams", "", "Datagrams received for a port without a listener.", "/proc/net/snmp"},
	{"udp.in_errors_total", "", Counter, "datagrams", "", "Datagrams received and dropped, for all reasons.", "/proc/net/snmp"},
	{"udp.rcvbuf_errors_total", "", Counter, "datagrams", "", "Datagrams dropped because the program did not read them in time.", "/proc/net/snmp"},
	{"udp.sndbuf_errors_total", "", Counter, "datagrams", "", "Datagrams dropped because the link did not send them in time.", "/proc/net/snmp"},
	{"udp.csum_errors_total", "", Counter, "datagrams", "", "Datagrams dropped because of a wrong checksum.", "/proc/net/snmp"},
	{"softnet.processed_total", "", Counter, "packets", "", "Packets that the processors took from the links.", "/proc/net/softnet_stat"},
	{"softnet.dropped_total", "", Counter, "packets", "", "Packets dropped because a processor's queue was full.", "/proc/net/softnet_stat"},
	{"softnet.squeezed_total", "", Counter, "times", "", "Times that a processor stopped taking packets while more were waiting.", "/proc/net/softnet_stat"},
	{"unit.cpu_seconds_total", "", Counter, "seconds", "unit", "Processor time of a systemd unit.", "cgroup v2, cpu.stat"},
	{"unit.memory_bytes", "", Gauge, "bytes", "unit", "Memory of a systemd unit, its page cache included.", "cgroup v2, memory.current"},
	{"unit.oom_kills_total", "", Counter, "processes", "unit", "Processes of a systemd unit that were killed for lack of memory.", "cgroup v2, memory.events"},
	{"unit.tasks", "", Gauge, "tasks", "unit", "Processes and threads of a systemd unit.", "cgroup v2, pids.current"},
	{"unit.restarts_total", "", Counter, "restarts", "unit", "Times that systemd restarted a unit by itself, since the unit was loaded.", "systemd over D-Bus, NRestarts"},
	{"system.units_failed", "", Gauge, "units", "", "Systemd units in the state failed, on a machine with one of the units above.", "systemd over D-Bus, NFailedUnits"},
	{"pressure.waiting_seconds_total", "", Counter, "seconds", "resource", "Time in which at least one task waited for a resource: processors, disks or memory.", "/proc/pressure"},
	{"pressure.stalled_seconds_total", "", Counter, "seconds", "resource", "Time in which all tasks that could run waited for a resource.", "/proc/pressure"},
	{"textfile.mtime_seconds", "", Gauge, "seconds", "file", "Unix time at which a file of the textfile collector was last written.", "the file"},
	{"modem.state", "", Gauge, "state", "interface, modem", "State by ModemManager's numbers: -1 failed, 2 locked, 3 disabled, 7 searching, 8 registered, 11 connected.", "ModemManager, Modem.State"},
	{"modem.failed_reason", "", Gauge, "reason", "interface, modem", "Why the modem failed: 0 it did not, 1 unknown, 2 no SIM, 3 SIM error, 4 no capabilities, 5 no eSIM profile.", "ModemManager, Modem.StateFailedReason"},
	{"modem.sim_missing", "", Gauge, "boolean", "interface, modem", "1 while the modem failed because it has no SIM.", "ModemManager, Modem.StateFailedReason"},
	{"modem.registered", "", Gauge, "boolean", "interface, modem", "1 while it is registered with a network, at home or abroad.", "ModemManager, Modem3gpp.RegistrationState"},
	{"modem.roaming", "", Gauge, "boolean", "interface, modem", "1 while it is registered abroad.", "ModemManager, Modem3gpp.RegistrationState"},
	{"modem.signal_percent", "", Gauge, "percent", "interface, modem", "Quality of the signal, while it is registered.", "ModemManager, Modem.SignalQuality"},
	{"modem.rsrp_dbm", "", Gauge, "dBm", "interface, modem", "Power of the reference signal (RSRP). Needs the polling of signals in ModemManager.", "ModemManager, Modem.Signal"},
	{"modem.rsrq_db", "", Gauge, "dB", "interface, modem", "Quality of the reference signal (RSRQ). Needs the polling of signals in ModemManager.", "ModemManager, Modem.Signal"},
	{"modem.sinr_db", "", Gauge, "dB", "interface, modem", "Signal to interference and noise ratio. Needs the polling of signals in ModemManager.", "ModemManager, Modem.Signal"},
	{"modem.rssi_dbm", "", Gauge, "dBm", "interface, modem", "Received power, including noise (RSSI). Needs the polling of signals in ModemManager.", "ModemManager, Modem.Signal"},
	{"modem.info", "", Gauge, "1", "interface, model, modem, operator, technology", "Always 1.", "ModemManager"},
	{"hdmi.signal", "", Gauge, "level", "input", "2 while the input has a lock on a signal, 1 without one, 0 without a cable.", "V4L2, /sys/class/hdmirx"},
	{"hdmi.width_pixels", "", Gauge, "pixels", "input", "Width of the picture, while there is a lock.", "V4L2, DV timings"},
	{"hdmi.height_pixels", "", Gauge, "pixels", "input", "Height of the picture, while there is a lock.", "V4L2, DV timings"},
	{"hdmi.rate_hz", "", Gauge, "hertz", "input", "Pictures a second; fields a second for an interlaced signal.", "V4L2, DV timings"},
	{"hdmi.interlaced", "", Gauge, "boolean", "input", "1 for an interlaced signal.", "V4L2, DV timings"},
	{"hdmi.changes_total", "", Counter, "changes", "input", "Changes of the signal or the picture.", "hdmi.input collector"},
	{"receiver.streams", "", Gauge, "streams", "", "Streams that are published to the SRT server on this machine.", "the server's page"},
	{"receiver.bits_per_second", "", Gauge, "bits per second", "stream", "Rate at which a stream arrives.", "the server's page"},
	{"receiver.rtt_ms", "", Gauge, "milliseconds", "stream", "Round-trip time to the sender.", "the server's page"},
	{"receiver.packets_total", "", Counter, "packets", "stream", "Packets received. Only with MediaMTX.", "the server's page"},
	{"receiver.lost_packets_total", "", Counter, "packets", "stream", "Packets that did not arrive the first time.", "the server's page"},
	{"receiver.retransmitted_packets_total", "", Counter, "packets", "stream", "Packets that arrived when they were sent again. Only with MediaMTX.", "the server's page"},
	{"receiver.dropped_packets_total", "", Counter, "packets", "stream", "Packets dropped because they came too late, which viewers see.", "the server's page"},
	{"receiver.buffer_ms", "", Gauge, "milliseconds", "stream", "Length of the stream in the receive buffer.", "the server's page"},
	{"receiver.latency_ms", "", Gauge, "milliseconds", "stream", "Negotiated latency.", "the server's page"},
	{"receiver.uptime_seconds", "", Gauge, "seconds", "stream", "Time since the stream began. Only with SLS.", "the server's page"},
	{"board.info", "", Gauge, "1", "kernel, model, version", "Always 1. The model comes from the device tree; the version is that of metrics-collector.", "/proc/device-tree/model, /proc/sys/kernel/osrelease"},
	{"collector.devices_dropped_total", "", Counter, "devices", "collector", "Devices, links or units left out of a round because there were more than the collector's limit. No series before that.", "the collectors"},
	{"stream.active", "", Gauge, "boolean", "", "1 while the encoder streams: its last message about SRT says connected, and the relay's socket is open.", "journal of belaUI; /proc/net/udp"},
	{"stream.latency_ms", "", Gauge, "milliseconds", "", "Latency that belacoder and the receiver negotiated.", "journal of belaUI"},
	{"stream.events_total", "", Counter, "events", "event, link, reason", "Events that belacoder and srtla_send logged; starts at 0 and continues over restarts.", "journal of belaUI"},
	{"kernel.events_total", "", Counter, "events", "event", "Events that the kernel logged about devices, memory and heat; starts at 0 and continues over restarts.", "journal of the kernel"},
	{"unit.failures_total", "", Counter, "events", "result, unit", "Times that systemd put a unit into the state failed.", "journal of systemd"},
	{"unit.exits_total", "", Counter, "events", "code, unit", "Times that a unit's main process ended with a failure.", "journal of systemd"},
	{"unit.restarts_scheduled_total", "", Counter, "events", "unit", "Times that systemd scheduled a restart of a unit.", "journal of systemd"},
	{"stream.event_time_seconds", "", Gauge, "Unix seconds", "event, link, reason, unit", "Time of the last event of this kind, of the encoder, the kernel or systemd.", "the event's own time in the journal"},
	{"stream.journal_skipped_total", "", Counter, "lines", "reason", "Lines of the journal that were not read: older than a day, deleted before they were read (an upper bound), of another journal, with compressed or long values, damaged.", "journal"},
	{"stream.events_dropped_total", "", Counter, "events", "", "Events left out because of the limits: 16 links, 32 units, 100 reasons.", "journal"},
	{"stream.bitrate_min_bps", "", Gauge, "bits a second", "", "The lowest bitrate that belacoder may choose.", "/tmp/belacoder_br"},
	{"stream.bitrate_max_bps", "", Gauge, "bits a second", "", "The highest bitrate that belacoder may choose.", "/tmp/belacoder_br; journal of belaUI"},
	{"stream.relay_dropped_total", "", Counter, "packets", "", "Datagrams of the encoder that srtla_send's socket dropped.", "/proc/net/udp"},
	{"stream.stats_age_seconds", "", Gauge, "seconds", "", "Age of srtla_send's statistics; above 5 the links have no values.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_rtt_ms", "", Gauge, "milliseconds", "interface, link", "Round-trip time of one link.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_nak_total", "", Counter, "packets", "interface, link", "Packets sent over one link that were reported lost.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_window_packets", "", Gauge, "packets", "interface, link", "Congestion window of one link, in the sender's unit.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_in_flight_packets", "", Gauge, "packets", "interface, link", "Packets in flight on one link.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_bits_per_second", "", Gauge, "bits a second", "interface, link", "Bit rate of one link.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.link_weight_percent", "", Gauge, "percent", "interface, link", "Weight that the sender gives to one link.", "/tmp/srtla-send-stats-9000.json"},
	{"stream.links_dropped_total", "", Counter, "links", "", "Links left out of a round because there were more than 16.", "/tmp/srtla-send-stats-9000.json"},
	{"collector.metrics_collected_total", "", Counter, "samples", "collector", "Samples that a collector returned.", "metrics-collector"},
	{"collector.metrics_failed_total", "", Counter, "readings", "collector", "Readings that failed.", "metrics-collector"},
	{"collector.collection_duration_seconds", "", Histogram, "seconds", "collector", "Duration of one run of a collector.", "metrics-collector"},
	{"uploader.metrics_uploaded_total", "", Counter, "samples", "", "Samples that the server accepted.", "metrics-shipper"},
	{"uploader.upload_failures_total", "", Counter, "requests", "", "Requests of which the server accepted nothing.", "metrics-shipper"},
	{"uploader.partial_success_total", "", Counter, "requests", "", "Answers that accepted only a part of a chunk.", "metrics-shipper"},
	{"uploader.bytes_sent_total", "", Counter, "bytes", "", "Bytes written to the connection for uploads, headers and retries included.", "metrics-shipper"},
	{"uploader.upload_duration_seconds", "", Histogram, "seconds", "", "Time from the first byte of a request to the end of its answer.", "metrics-shipper"},
	{"storage.database_size_bytes", "", Gauge, "bytes", "", "Size of the database file.", "metrics-collector"},
	{"storage.wal_size_bytes", "", Gauge, "bytes", "", "Size of the write-ahead log.", "metrics-collector"},
	{"storage.metrics_pending_upload", "", Gauge, "samples", "", "Samples that are stored and not delivered yet.", "metrics-collector"},
	{"storage.wal_checkpoint_duration_ms", "", Gauge, "milliseconds", "", "Duration of the last checkpoint.", "metrics-collector"},
	{"storage.wal_bytes_reclaimed", "", Gauge, "bytes", "", "Bytes by which the last checkpoint shortened the WAL.", "metrics-collector"},
	{"storage.rejected_total", "", Counter, "samples", "", "Samples that the server rejected.", "metrics-shipper"},
	{"storage.lost_total", "", Counter, "samples", "reason", "Samples lost before they were delivered.", "metrics-collector"},
	{"time.skew_ms", "", Gauge, "milliseconds", "", "Local clock minus the server's; positive when the board is ahead.", "HTTP Date header"},
	{"process.cpu_seconds_total", "", Counter, "seconds", "daemon", "Processor time of a daemon, user and system.", "getrusage(2)"},
	{"process.resident_memory_bytes", "", Gauge, "bytes", "daemon", "Resident memory of a daemon.", "/proc/self/statm"},
	{"process.written_bytes_total", "", Counter, "bytes", "daemon", "Bytes that a daemon caused to be written to storage.", "/proc/self/io"},
}

var byName = func() map[string]*Entry {
	m := make(map[string]*Entry, len(Catalog))
	for i := range Catalog {
		e := &Catalog[i]
		if m[e.Name] != nil {
			panic("BUG: twice in the catalogue: " + e.Name)
		}
		m[e.Name] = e
	}
	return m
}()

// Lookup finds the entry of a stored name; a histogram's _bucket, _sum and
// _count belong to the histogram's entry.
func Lookup(name string) (Entry, bool) {
	if e := byName[name]; e != nil {
		return *e, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if e := byName[base]; e != nil && e.Kind == Histogram {
				return *e, true
			}
		}
	}
	return Entry{}, false
}

// Reserved says whether a name at the server is one of the catalogue's: samples
// of others must not be mixed into those series.
func Reserved(wireName string) bool { return ofCatalog[wireName] }

var ofCatalog = func() map[string]bool {
	names := map[string]bool{}
	for _, e := range Catalog {
		wire := WireName(e.Name)
		names[wire] = true
		if e.Kind == Histogram {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[wire+suffix] = true
			}
		}
	}
	return names
}()

// WireName returns the name under which a stored name is sent. Names of the
// catalogue are looked up; any other is made legal letter by letter, so that it
// matches ^[a-zA-Z_:][a-zA-Z0-9_:]*$ (Prometheus data model).
func WireName(name string) string {
	if e := byName[name]; e != nil && e.Wire != "" {
		return e.Wire
	}
	b := []byte(name)
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != ':' {
			b[i] = '_'
		}
	}
	if len(b) == 0 || b[0] >= '0' && b[0] <= '9' {
		b = append([]byte{'_'}, b...)
	}
	return string(b)
}
