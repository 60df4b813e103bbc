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
	Source string // kernel file, system call, or the part of us that counts
}

// Catalog is every metric this product stores or sends, in the order in which
// the documentation prints them.
var Catalog = []Entry{
	{"cpu.usage_percent", "", Gauge, "percent", "core", "Time not idle between two readings; core=\"all\" sums the cores present in both. Waiting for I/O counts as idle.", "/proc/stat"},
	{"cpu.iowait_percent", "", Gauge, "percent", "core", "Time idle while I/O was outstanding, all cores.", "/proc/stat"},
	{"cpu.steal_percent", "", Gauge, "percent", "core", "Time taken by the hypervisor, all cores.", "/proc/stat"},
	{"cpu.temperature", "cpu_temperature_celsius", Gauge, "celsius", "", "The hottest thermal zone that could be read.", "/sys/class/thermal"},
	{"thermal.zone_temp", "thermal_zone_temp_celsius", Gauge, "celsius", "index, zone", "Temperature of one thermal zone.", "/sys/class/thermal/thermal_zone*/temp"},
	{"memory.used_bytes", "", Gauge, "bytes", "", "MemTotal less MemAvailable.", "/proc/meminfo"},
	{"memory.available_bytes", "", Gauge, "bytes", "", "What programs can still take without swapping, by the kernel's estimate.", "/proc/meminfo"},
	{"memory.total_bytes", "", Gauge, "bytes", "", "Usable memory.", "/proc/meminfo"},
	{"memory.swap_used_bytes", "", Gauge, "bytes", "", "SwapTotal less SwapFree.", "/proc/meminfo"},
	{"memory.swap_total_bytes", "", Gauge, "bytes", "", "Swap space.", "/proc/meminfo"},
	{"disk.read_ops_total", "", Counter, "operations", "device", "Reads completed.", "/proc/diskstats"},
	{"disk.read_bytes_total", "", Counter, "bytes", "device", "Bytes read; a sector is 512 bytes whatever the device says.", "/proc/diskstats"},
	{"disk.write_ops_total", "", Counter, "operations", "device", "Writes completed.", "/proc/diskstats"},
	{"disk.write_bytes_total", "", Counter, "bytes", "device", "Bytes written; a sector is 512 bytes whatever the device says.", "/proc/diskstats"},
	{"disk.io_time_ms_total", "", Counter, "milliseconds", "device", "Time with I/O in flight.", "/proc/diskstats"},
	{"disk.weighted_io_time_ms_total", "", Counter, "milliseconds", "device", "Time with I/O in flight, times the number in flight.", "/proc/diskstats"},
	{"disk.total_bytes", "", Gauge, "bytes", "mountpoint", "Size of a mounted filesystem.", "statfs(2)"},
	{"disk.used_bytes", "", Gauge, "bytes", "mountpoint", "Size less free blocks.", "statfs(2)"},
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
	{"collector.metrics_collected_total", "", Counter, "samples", "collector", "Samples a collector returned.", "metrics-collector"},
	{"collector.metrics_failed_total", "", Counter, "readings", "collector", "Readings a collector could not take.", "metrics-collector"},
	{"collector.collection_duration_seconds", "", Histogram, "seconds", "collector", "Time one round of a collector took.", "metrics-collector"},
	{"uploader.metrics_uploaded_total", "", Counter, "samples", "", "Samples the server acknowledged.", "metrics-shipper"},
	{"uploader.upload_failures_total", "", Counter, "requests", "", "Requests that did not end in an acknowledgement.", "metrics-shipper"},
	{"uploader.partial_success_total", "", Counter, "requests", "", "Answers that took only part of a chunk.", "metrics-shipper"},
	{"uploader.bytes_sent_total", "", Counter, "bytes", "", "Bytes written to the connection for uploads, headers and retries included.", "metrics-shipper"},
	{"uploader.upload_duration_seconds", "", Histogram, "seconds", "", "Time from the first byte of a request to the end of its answer.", "metrics-shipper"},
	{"storage.database_size_bytes", "", Gauge, "bytes", "", "Size of the database file.", "metrics-collector"},
	{"storage.wal_size_bytes", "", Gauge, "bytes", "", "Size of the write-ahead log.", "metrics-collector"},
	{"storage.metrics_pending_upload", "", Gauge, "samples", "", "Samples stored and not yet acknowledged.", "metrics-collector"},
	{"storage.wal_checkpoint_duration_ms", "", Gauge, "milliseconds", "", "Time the last checkpoint took.", "metrics-collector"},
	{"storage.wal_bytes_reclaimed", "", Gauge, "bytes", "", "Bytes the last checkpoint gave back.", "metrics-collector"},
	{"storage.rejected_total", "", Counter, "samples", "", "Samples set aside because the server refused them.", "metrics-shipper"},
	{"storage.lost_total", "", Counter, "samples", "reason", "Samples given up before delivery.", "metrics-collector"},
	{"time.skew_ms", "", Gauge, "milliseconds", "", "Local clock minus the server's; positive when the board is ahead.", "HTTP Date header"},
	{"process.cpu_seconds_total", "", Counter, "seconds", "daemon", "Processor time of a daemon, user and system.", "getrusage(2)"},
	{"process.resident_memory_bytes", "", Gauge, "bytes", "daemon", "Resident memory of a daemon.", "/proc/self/statm"},
	{"process.written_bytes_total", "", Counter, "bytes", "daemon", "Bytes a daemon caused to be written to storage.", "/proc/self/io"},
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
