package health

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// metrics answers with the report in Prometheus' text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). The HTTP status is
// always 200, because the scrape itself succeeded. With names=sent, all samples
// have the names by which they are sent.
func (s *Server) metrics(r *http.Request) reply {
	sent := false
	switch r.URL.RawQuery {
	case "":
	case "names=sent":
		sent = true
	default:
		return text(http.StatusBadRequest, "the only parameter is names=sent\n")
	}
	return reply{
		status: http.StatusOK, kind: "text/plain; version=0.0.4; charset=utf-8",
		body: Exposition(s.report(r)) + s.newest(r, sent),
	}
}

// A ProcessUse is what this process has used of the machine so far; -1: not known. The
// writers store theirs as samples. This program writes nothing, so its own are shown
// only at /metrics, under the same names.
type ProcessUse struct {
	CPUSeconds    float64
	ResidentBytes int64
	WrittenBytes  int64
}

// Exposition writes a report in Prometheus' text format.
func Exposition(r Report) string {
	var x exposition
	x.family("belabox_health_info", "gauge", "The device and the version of metrics-health; always 1.")
	x.value(1, "device_id", r.DeviceID, "version", r.Version)
	x.family("belabox_health_uptime_seconds", "gauge", "Time since metrics-health started.")
	x.value(float64(r.UptimeSeconds))
	x.family("belabox_health_status", "gauge", "1 for the present overall status, 0 for the others.")
	for _, s := range []Status{StatusOK, StatusDegraded, StatusError} {
		x.value(one(r.Status == s), "status", string(s))
	}
	x.family("belabox_health_reason", "gauge", "One series for each reason for a status that is not ok; always 1.")
	for _, reason := range r.Reasons {
		x.value(1, "code", string(reason.Code), "component", reason.Component, "severity", string(reason.Severity))
	}

	x.daemons(r.Daemons)
	x.collectors(r.Collectors)
	x.uploads(r)
	x.clock(r.Time)
	return x.b.String()
}

func (x *exposition) uploads(r Report) {
	x.family("belabox_upload_last_success_timestamp_seconds", "gauge", "When samples were last delivered, as Unix time.")
	x.when(r.Uploader.LastUpload)
	x.family("belabox_upload_age_seconds", "gauge", "Time since samples were last delivered.")
	x.maybe(r.Uploader.UploadAge)
	x.family("belabox_upload_http_status", "gauge", "HTTP status of the last answer to an upload; absent if there was none.")
	if r.Uploader.HTTPStatus != 0 {
		x.value(float64(r.Uploader.HTTPStatus))
	}

	s := r.Storage
	if s.Captured > 0 || s.DatabaseSizeBytes > 0 {
		for _, c := range []struct {
			name, kind, help string
			value            int64
		}{
			{"belabox_upload_failures_total", "counter", "Upload attempts that failed.", r.Uploader.UploadFailures},
			{"belabox_samples_captured_total", "counter", "Samples ever stored.", s.Captured},
			{"belabox_samples_delivered_total", "counter", "Samples ever delivered.", s.Delivered},
			{"belabox_samples_pending", "gauge", "Samples stored and not delivered yet.", s.MetricsPendingUpload},
			{"belabox_samples_held", "gauge", "Samples held until the clock is trusted.", s.Held},
			{"belabox_samples_rejected", "gauge", "Samples that the server rejected.", s.Rejected},
			{"belabox_samples_local", "gauge", "Samples of text, which are never sent.", s.Local},
			{"belabox_database_size_bytes", "gauge", "Size of the database file.", s.DatabaseSizeBytes},
			{"belabox_wal_size_bytes", "gauge", "Size of the WAL, SQLite's write-ahead log.", s.WALSizeBytes},
		} {
			x.family(c.name, c.kind, c.help)
			x.value(float64(c.value))
		}
	}
	x.family("belabox_samples_lost_total", "counter", "Samples lost before they were delivered.")
	for _, reason := range slices.Sorted(maps.Keys(s.LostByReason)) {
		x.value(float64(s.LostByReason[reason]), "reason", reason)
	}
	x.family("belabox_samples_oldest_timestamp_seconds", "gauge", "Time of the oldest stored sample.")
	x.when(s.OldestMetricTimestamp)
}

func (x *exposition) clock(t Time) {
	x.family("belabox_clock_skew_seconds", "gauge", "Local clock minus the server's; positive when the board is ahead.")
	x.milli(t.SkewMs)
	x.family("belabox_clock_skew_error_seconds", "gauge", "Bound of the error of belabox_clock_skew_seconds.")
	x.milli(t.SkewErrorMs)
	x.family("belabox_clock_synced", "gauge",
		"1 if the kernel or systemd-timesyncd says that the clock is synchronised, 0 if not; absent if that is not known.")
	if t.NTPSynced != nil {
		x.value(one(*t.NTPSynced))
	}
	x.family("belabox_clock_trusted", "gauge",
		"1 if samples are stored with the time of this clock, 0 if they are held; absent if that is not known.")
	if t.Trusted != nil {
		x.value(one(*t.Trusted))
	}
}

func (x *exposition) daemons(all map[string]Daemon) {
	names := slices.Sorted(maps.Keys(all))
	x.family("belabox_daemon_state", "gauge", "1 for the state of each writing daemon, 0 for the others.")
	for _, name := range names {
		for _, s := range []State{NeverRan, Starting, Running, Stopped, Failed, Crashed, Hung, Silent} {
			x.value(one(all[name].State == s), "daemon", name, "state", string(s))
		}
	}
	// One that never ran has no facts.
	names = slices.DeleteFunc(names, func(name string) bool { return all[name].HeartbeatSeconds == nil })
	x.family("belabox_daemon_info", "gauge", "The version and the process of each writing daemon that last wrote; always 1.")
	for _, name := range names {
		x.value(1, "daemon", name, "version", all[name].Version, "pid", strconv.Itoa(all[name].PID))
	}
	x.family("belabox_daemon_heartbeat_age_seconds", "gauge", "Time since the last heartbeat of each writing daemon.")
	for _, name := range names {
		x.maybe(all[name].HeartbeatSeconds, "daemon", name)
	}
	x.family("belabox_daemon_start_time_seconds", "gauge", "When each writing daemon started, as Unix time.")
	for _, name := range names {
		x.when(all[name].Started, "daemon", name)
	}
	x.family("belabox_daemon_last_success_timestamp_seconds", "gauge",
		"When the work of each writing daemon last succeeded, as Unix time.")
	for _, name := range names {
		x.when(all[name].LastSuccess, "daemon", name)
	}
	x.family("belabox_daemon_last_error_timestamp_seconds", "gauge",
		"When the work of each writing daemon last failed, as Unix time.")
	for _, name := range names {
		x.when(all[name].LastErrorAt, "daemon", name)
	}
	x.family("belabox_daemon_succeeded_total", "counter",
		"What each writing daemon counts as done: samples stored, samples delivered.")
	for _, name := range names {
		x.value(float64(all[name].Succeeded), "daemon", name)
	}
	x.family("belabox_daemon_failed_total", "counter", "What each writing daemon counts as failed.")
	for _, name := range names {
		x.value(float64(all[name].Failed), "daemon", name)
	}
}

func (x *exposition) collectors(all map[string]Collector) {
	names := slices.Sorted(maps.Keys(all))
	x.family("belabox_collector_up", "gauge", "1 if the last round of the collector read everything, 0 if not.")
	for _, name := range names {
		x.value(one(all[name].Status == StatusOK), "collector", name)
	}
	x.family("belabox_collector_samples_total", "counter", "Samples a collector returned.")
	for _, name := range names {
		x.value(float64(all[name].Succeeded), "collector", name)
	}
	x.family("belabox_collector_failures_total", "counter", "Readings that failed.")
	for _, name := range names {
		x.value(float64(all[name].Failed), "collector", name)
	}
	x.family("belabox_collector_last_success_timestamp_seconds", "gauge", "When a collector last read its source, as Unix time.")
	for _, name := range names {
		x.when(all[name].LastCollection, "collector", name)
	}
	x.family("belabox_collector_last_error_timestamp_seconds", "gauge",
		"When a collector last could not read something, as Unix time.")
	for _, name := range names {
		x.when(all[name].LastErrorAt, "collector", name)
	}
	x.family("belabox_collector_heartbeat_age_seconds", "gauge", "Time since a collector last ran.")
	for _, name := range names {
		x.maybe(all[name].HeartbeatSeconds, "collector", name)
	}
}

// An exposition is the text so far. The head of a family is written with its first value,
// so that a family without values is left out.
type exposition struct {
	b                strings.Builder
	name, kind, help string
	begun            bool
}

func (x *exposition) family(name, kind, help string) {
	x.name, x.kind, x.help, x.begun = name, kind, help, false
}

func (x *exposition) value(v float64, labels ...string) {
	if !x.begun {
		fmt.Fprintf(&x.b, "# HELP %s %s\n# TYPE %s %s\n", x.name, x.help, x.name, x.kind)
		x.begun = true
	}
	x.b.WriteString(x.name)
	for i := 0; i < len(labels); i += 2 {
		x.b.WriteByte("{,"[min(i, 1)])
		x.b.WriteString(labels[i] + `="` + labelEscapes.Replace(metric.Clean(labels[i+1])) + `"`)
	}
	if len(labels) > 0 {
		x.b.WriteByte('}')
	}
	x.b.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (x *exposition) maybe(v *float64, labels ...string) {
	if v != nil {
		x.value(*v, labels...)
	}
}

func (x *exposition) milli(v *float64) {
	if v != nil {
		x.value(*v / 1000)
	}
}

// when writes a time of the report as Unix seconds; never is left out.
func (x *exposition) when(at string, labels ...string) {
	if t, err := time.Parse(time.RFC3339, at); err == nil {
		x.value(float64(t.Unix()), labels...)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
