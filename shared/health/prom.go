package health

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metrics answers with the report in Prometheus' text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). It is 200
// whatever the status: the scrape itself succeeded.
func (s *Server) metrics(r *http.Request) reply {
	return reply{http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", Exposition(s.look(r))}
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

	daemons := slices.Sorted(maps.Keys(r.Daemons))
	x.family("belabox_daemon_state", "gauge", "1 for the state of each writing daemon, 0 for the others.")
	for _, name := range daemons {
		for _, s := range []State{NeverRan, Starting, Running, Stopped, Crashed, Hung} {
			x.value(one(r.Daemons[name].State == s), "daemon", name, "state", string(s))
		}
	}
	x.family("belabox_daemon_info", "gauge", "The version of each writing daemon; always 1.")
	for _, name := range daemons {
		x.value(1, "daemon", name, "version", r.Daemons[name].Version)
	}
	x.family("belabox_daemon_heartbeat_age_seconds", "gauge", "Time since each writing daemon last wrote that it lives.")
	for _, name := range daemons {
		x.maybe(r.Daemons[name].HeartbeatSeconds, "daemon", name)
	}
	x.family("belabox_daemon_start_time_seconds", "gauge", "When each writing daemon started, as Unix time.")
	for _, name := range daemons {
		x.when(r.Daemons[name].Started, "daemon", name)
	}

	x.collectors(r.Collectors)

	x.family("belabox_upload_last_success_timestamp_seconds", "gauge", "When samples were last delivered, as Unix time.")
	x.when(r.Uploader.LastUpload)
	x.family("belabox_upload_age_seconds", "gauge", "Time since samples were last delivered.")
	x.maybe(r.Uploader.UploadAge)

	s := r.Storage
	if s.Captured > 0 || s.DatabaseSizeBytes > 0 {
		for _, c := range []struct {
			name, kind, help string
			value            int64
		}{
			{"belabox_upload_failures_total", "counter", "Upload attempts that failed.", r.Uploader.UploadFailures},
			{"belabox_samples_captured_total", "counter", "Samples ever stored.", s.Captured},
			{"belabox_samples_delivered_total", "counter", "Samples the server ever acknowledged.", s.Delivered},
			{"belabox_samples_pending", "gauge", "Samples stored and not yet acknowledged.", s.MetricsPendingUpload},
			{"belabox_samples_held", "gauge", "Samples that wait for a trusted clock.", s.Held},
			{"belabox_samples_rejected", "gauge", "Samples set aside because the server refused them.", s.Rejected},
			{"belabox_samples_local", "gauge", "Samples of text, which are never sent.", s.Local},
			{"belabox_database_size_bytes", "gauge", "Size of the database file.", s.DatabaseSizeBytes},
			{"belabox_wal_size_bytes", "gauge", "Size of the write-ahead log.", s.WALSizeBytes},
		} {
			x.family(c.name, c.kind, c.help)
			x.value(float64(c.value))
		}
	}
	x.family("belabox_samples_lost_total", "counter", "Samples given up before delivery.")
	for _, reason := range slices.Sorted(maps.Keys(s.LostByReason)) {
		x.value(float64(s.LostByReason[reason]), "reason", reason)
	}
	x.family("belabox_samples_oldest_timestamp_seconds", "gauge", "Time of the oldest stored sample.")
	x.when(s.OldestMetricTimestamp)

	x.family("belabox_clock_skew_seconds", "gauge", "Local clock minus the server's; positive when the board is ahead.")
	x.milli(r.Time.SkewMs)
	x.family("belabox_clock_skew_error_seconds", "gauge", "Bound of the error of belabox_clock_skew_seconds.")
	x.milli(r.Time.SkewErrorMs)
	x.family("belabox_clock_synced", "gauge", "1 if the clock is trusted, 0 if not; absent if that is not known.")
	if r.Time.NTPSynced != nil {
		x.value(one(*r.Time.NTPSynced))
	}
	return x.b.String()
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
	x.family("belabox_collector_failures_total", "counter", "Readings a collector could not take.")
	for _, name := range names {
		x.value(float64(all[name].Failed), "collector", name)
	}
	x.family("belabox_collector_last_success_timestamp_seconds", "gauge", "When a collector last read its source, as Unix time.")
	for _, name := range names {
		x.when(all[name].LastCollection, "collector", name)
	}
}

// An exposition is the text so far. A family's head is written with its first
// value: one without values says nothing.
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
		x.b.WriteString(labels[i] + `="` + labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
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
