package status

import (
	"encoding/json"
	"fmt"
)

// A Shipper is the detail of ShipperRow.
type Shipper struct {
	// Outcome is that of the last request, or idle (nothing was pending) or
	// disabled (remote.enabled is false).
	Outcome       string `json:"outcome"`
	HTTPStatus    int    `json:"http_status,omitempty"`
	Misconfigured string `json:"misconfigured,omitempty"` // the fault of the configuration, while there is one
	Endpoint      string `json:"endpoint"`                // host and port
	ChunkSamples  int    `json:"chunk_samples"`           // the limit at present
	RetryAtMs     int64  `json:"retry_at_ms,omitempty"`   // of the next request; 0: with the next round
	BudgetSpent   bool   `json:"budget_spent,omitempty"`  // remote.max_bytes_per_day is used up
	BytesToday    int64  `json:"bytes_today,omitempty"`
	LittleTaken   string `json:"little_taken,omitempty"`    // how few samples the server accepts, while they are few
	Busy          bool   `json:"busy,omitempty"`            // other traffic exceeds remote.busy_kbps
	Plaintext     bool   `json:"plaintext_token,omitempty"` // credentials go over http to another machine

	Settling Settling `json:"settling"` // samples for a restarted server
}

// Outcomes of a Shipper whose last request, if there was one, did not fail.
const (
	OutcomeDelivered = "delivered"
	OutcomeIdle      = "idle"     // nothing is pending
	OutcomeDisabled  = "disabled" // remote.enabled is false
)

// Settling is which samples the server acknowledged recently and may still lose, and
// which are sent again because it lost them.
type Settling struct {
	Recent []Span   `json:"recent,omitempty"`
	Again  []Span   `json:"again,omitempty"`
	Hosts  []string `json:"hosts,omitempty"` // that answered
}

// A Span is samples that were acknowledged at about the same time, and their own
// times.
type Span struct {
	AckedMs  int64 `json:"acked_ms"`
	Priority int   `json:"priority"`
	FromMs   int64 `json:"from_ms"`
	ToMs     int64 `json:"to_ms"`
}

// A Collector is the detail of CollectorRow. It has the last success of each
// collector, so that the collector's own row is written only when something else
// changes: each row that is written costs a page.
type Collector struct {
	// Readings has an entry for each collector whose last reading succeeded: by how
	// many milliseconds it was before this row's heartbeat, and how many samples the
	// collector has read.
	Readings map[string][2]int64 `json:"readings,omitempty"`
}

// A Storage is the detail of StorageRow.
type Storage struct {
	CheckpointBusySinceMs int64  `json:"checkpoint_busy_since_ms,omitempty"` // a reader has kept the WAL from being emptied since; 0: none does
	CheckpointBusyTries   int    `json:"checkpoint_busy_tries,omitempty"`    // since then
	Evicting              string `json:"evicting,omitempty"`                 // why samples are deleted early; "": they are not
	FreeBytes             int64  `json:"free_bytes,omitempty"`               // on the filesystem; only with FreeBytesShort
	FreeBytesShort        int64  `json:"free_bytes_short,omitempty"`         // how many more should be free
	Series                int64  `json:"series,omitempty"`                   // stored
	SeriesLimit           int64  `json:"series_limit,omitempty"`             // only with SeriesFullSinceMs: about how many there is room for
	SeriesFullSinceMs     int64  `json:"series_full_since_ms,omitempty"`     // new series are refused since; 0: they are not
}

// A Clock is the detail of ClockRow.
type Clock struct {
	Trusted  *bool  `json:"clock_trusted"` // nil: unknown
	By       string `json:"trusted_by,omitempty"`
	NTP      *bool  `json:"ntp_synced,omitempty"` // whether the kernel or systemd-timesyncd says so; nil: neither can be read
	OffsetMs int64  `json:"offset_ms"`            // wall minus boot clock when it was written
	// Held samples of the session are stamped as if the wall clock had always been
	// BaseMs ahead of the boot clock, so that one shift corrects all of them.
	BaseMs      int64 `json:"base_ms"`
	Session     int64 `json:"session,omitempty"`
	HeldSinceMs int64 `json:"held_since_ms,omitempty"`
	HeldEarlier int64 `json:"held_earlier,omitempty"` // held samples of boots in which the clock was never trusted
	SteppedMs   int64 `json:"stepped_ms,omitempty"`   // shift of the last release
}

// IsTrusted says whether the clock is known to be trusted.
func (c Clock) IsTrusted() bool { return c.Trusted != nil && *c.Trusted }

// A Skew is the detail of SkewRow: local minus server, within ±ErrorMs.
type Skew struct {
	SkewMs  *float64 `json:"skew_ms,omitempty"`  // nil: not measured
	ErrorMs *float64 `json:"error_ms,omitempty"` // nil: unknown
	Host    string   `json:"host,omitempty"`     // that answered
}

// A Damage is the detail of DamageRow.
type Damage struct {
	DamagedMs int64  `json:"damaged_ms"`
	Salvaged  int64  `json:"salvaged"`       // samples
	Lost      *int64 `json:"lost,omitempty"` // samples; nil: not known
	Kept      string `json:"kept"`           // the damaged file
	Halted    string `json:"halted,omitempty"`
}

// Text returns a detail as it is stored.
func Text(detail any) string {
	text, err := json.Marshal(detail)
	if err != nil {
		panic(fmt.Sprintf("BUG: a detail that is not JSON: %v", err))
	}
	return string(text)
}

// Detail reads a row's detail. A row of another version may have values of other
// types: Detail then returns an error, and the values that have the right type.
func Detail[T Collector | Shipper | Storage | Clock | Skew | Damage](row Row) (detail T, err error) {
	if err := json.Unmarshal([]byte(row.Detail), &detail); err != nil {
		return detail, fmt.Errorf("read the detail of %s: %w", row.Component, err)
	}
	return detail, nil
}
