package health

import (
	"encoding/json"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// A Report is the result of one evaluation, as the JSON answer has it. Times are RFC 3339
// in UTC, "" for never. Ages are in seconds; null: not known.
type Report struct {
	Status        Status               `json:"status"`
	Version       string               `json:"version"`
	UptimeSeconds int64                `json:"uptime_seconds"`
	Timestamp     string               `json:"timestamp"`
	DeviceID      string               `json:"device_id"`
	Reasons       []Reason             `json:"reasons"`
	Daemons       map[string]Daemon    `json:"daemons"`
	Collectors    map[string]Collector `json:"collectors"`
	Uploader      Uploader             `json:"uploader"`
	Storage       Storage              `json:"storage"`
	Time          Time                 `json:"time"`

	// Ready says whether a sample was ever delivered, or remote.enabled is false.
	Ready bool `json:"-"`
}

// A Reason is one thing that is wrong.
type Reason struct {
	Code      Code   `json:"code"`
	Component string `json:"component"` // "collector", "collector/cpu.usage", "shipper", "storage", "time"
	Severity  Status `json:"severity"`  // degraded or error
	Message   string `json:"message"`
	Since     string `json:"since"` // when it began, as far as that is known
	Hint      string `json:"hint"`  // what the operator can do
}

// Facts are the fields that every component has.
type Facts struct {
	PID              int      `json:"pid"`
	Version          string   `json:"version"`
	Started          string   `json:"started"`
	IntervalSeconds  float64  `json:"interval_seconds"`
	HeartbeatSeconds *float64 `json:"heartbeat_age_seconds"`
	LastSuccess      string   `json:"last_success"`
	LastError        *string  `json:"last_error"`
	LastErrorAt      string   `json:"last_error_at"`
	FailingSince     string   `json:"failing_since"`
	Succeeded        int64    `json:"succeeded"`
	Failed           int64    `json:"failed"`
}

// A Daemon is one of the two writers.
type Daemon struct {
	Status Status `json:"status"`
	State  State  `json:"state"`
	Facts
}

// State is what a daemon does, as far as can be seen from outside.
type State string

// The states of a daemon. Failed: it ended with an error, or before it could write
// anything. Crashed: it ended without recording it. Hung: it runs and has made no
// progress for too long. Silent: the same, but it is not known whether it runs, because
// its lock cannot be read.
const (
	NeverRan State = "never_ran"
	Starting State = "starting"
	Running  State = "running"
	Stopped  State = "stopped"
	Failed   State = "failed"
	Crashed  State = "crashed"
	Hung     State = "hung"
	Silent   State = "silent"
)

// A Collector is one collector within metrics-collector.
type Collector struct {
	Status           Status `json:"status"`
	LastCollection   string `json:"last_collection"`
	MetricsCollected int64  `json:"metrics_collected"`
	Facts
}

// An Uploader is the delivery of samples to the server.
type Uploader struct {
	Status          Status   `json:"status"`
	LastUpload      string   `json:"last_upload"`
	UploadAge       *float64 `json:"upload_age_seconds"`
	MetricsUploaded int64    `json:"metrics_uploaded"`
	UploadFailures  int64    `json:"upload_failures"`
	PendingMetrics  int64    `json:"pending_metrics"`
	RetryQueueSize  int64    `json:"retry_queue_size"` // pending samples while uploads fail
	LastError       *string  `json:"last_error"`
	LastErrorAt     string   `json:"last_error_at"`
	Outcome         string   `json:"outcome"`
	HTTPStatus      int      `json:"http_status"`
	Endpoint        string   `json:"endpoint"` // host and port
	BytesToday      int64    `json:"bytes_today"`
	BytesPerDay     int64    `json:"bytes_per_day"`   // what is allowed; 0: no limit
	Plaintext       bool     `json:"plaintext_token"` // credentials go over http to another machine
}

// Storage is the database and the ledger.
type Storage struct {
	Status                Status           `json:"status"`
	DatabaseSizeBytes     int64            `json:"database_size_bytes"`
	WALSizeBytes          int64            `json:"wal_size_bytes"`
	MetricsPendingUpload  int64            `json:"metrics_pending_upload"`
	OldestMetricTimestamp string           `json:"oldest_metric_timestamp"`
	OldestPending         string           `json:"oldest_pending_timestamp"`
	Captured              int64            `json:"captured"`
	Delivered             int64            `json:"delivered"`
	Held                  int64            `json:"held"`
	Rejected              int64            `json:"rejected"`
	Local                 int64            `json:"local"`
	Lost                  int64            `json:"lost"`
	LostByReason          map[string]int64 `json:"lost_by_reason"`
}

// Time is the clock.
type Time struct {
	Status      Status   `json:"status"`
	Local       string   `json:"local"`
	SkewMs      *float64 `json:"skew_ms"`       // local minus server; null: never measured
	SkewErrorMs *float64 `json:"skew_error_ms"` // bound of the measurement's error
	NTPSynced   *bool    `json:"ntp_synced"`    // what the kernel or timesyncd says; null: neither can be asked
	Trusted     *bool    `json:"trusted"`       // whether samples are stored with its time; null: not known
	TrustedBy   string   `json:"trusted_by"`    // why: kernel, timesyncd, server, operator
}

// JSON is the answer of /health: indented, with a newline at its end.
func (r Report) JSON() []byte {
	out, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic("BUG: a report that is not JSON: " + err.Error())
	}
	return append([]byte(metric.Clean(string(out))), '\n')
}

// stamp gives Unix milliseconds as RFC 3339 in UTC; "" for 0, which is never.
func stamp(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}
