// Package health evaluates the state of the pipeline and shows it to people and
// machines. It reads the database and writes nothing.
//
// The one rule here: unknown is not ok. Something that could not be checked is a reason
// of its own. Start at Evaluate, which is pure: an Observation, the thresholds and the
// time give a Report. Watch observes and keeps the database open; Server answers over
// HTTP; Text prints for a terminal.
package health

import (
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// Status is the state of the whole pipeline or of a part of it.
type Status string

// The statuses, from good to bad. StatusOff is a part that the configuration
// turns off.
const (
	StatusOK       Status = "ok"
	StatusDegraded Status = "degraded"
	StatusError    Status = "error"
	StatusOff      Status = "off"
)

// ExitCode is 0 for ok, 1 for degraded and 2 for error.
func (s Status) ExitCode() int {
	switch s {
	case StatusOK:
		return 0
	case StatusDegraded:
		return 1
	}
	return 2
}

// Daemon names and their components in the status table.
const (
	collector = "metrics-collector"
	shipper   = "metrics-shipper"
)

// Observation is everything that was read at one time.
type Observation struct {
	Fault     Code // "": the database could be read
	FaultText string
	Snapshot  store.Snapshot
	// RejectedMs is when a sample was last rejected; 0: never.
	RejectedMs int64
	// Locks are the locks by the names of the programs. A program that is not in it has
	// no lock file.
	Locks map[string]Lock
	// ConfigFault is what is wrong with the configuration file now; "": nothing.
	ConfigFault string
	// DiskFull says that nothing can be written beside the database; "": it can.
	DiskFull string
}

// A Lock is the state of a writer's lock file. While it is held, the process runs.
type Lock struct {
	Fault   string // why the rest is not known; "": it is
	Held    bool
	PID     int       // of the process that holds it; 0: not known
	Written int       // the pid that the last process to take it wrote; 0: it stopped cleanly, or that is not known
	Since   time.Time // when it was last taken or given up; zero: not known
}

// A Moment is the time of an observation on both clocks, and which boot it is.
type Moment struct {
	status.Moment
	BootID string // "": not known; ages are then taken from the wall clock
}

// Thresholds are where a status begins. A value that equals its threshold is
// still good.
type Thresholds struct {
	Remote          bool          // samples are meant to be sent
	Timeout         time.Duration // of one upload
	BytesPerDay     int64         // that may be sent; 0: no limit
	DegradedAge     time.Duration
	ErrorAge        time.Duration
	DegradedPending int64
	ErrorPending    int64
	SkewMs          int64
	WALBytes        int64
	CheckpointAge   time.Duration // for which checkpoints may be blocked
	Expected        []Expected
	NoCollectors    bool // the configuration enables none
}

// Expected is a collector that the configuration names.
type Expected struct {
	Name     string
	Interval time.Duration
}

// ThresholdsOf derives the thresholds from the configuration.
func ThresholdsOf(c config.Config) Thresholds {
	t := Thresholds{
		Remote:          c.Remote.Enabled,
		Timeout:         c.Remote.Timeout,
		BytesPerDay:     c.Remote.MaxBytesPerDay,
		DegradedPending: c.Health.DegradedThreshold.PendingMetrics,
		ErrorPending:    c.Health.ErrorThreshold.PendingMetrics,
		SkewMs:          c.Monitoring.ClockSkewWarnThresholdMs,
		// The collector empties the WAL at this size; at twice this size it could not.
		WALBytes:      2 * int64(c.Storage.WALCheckpointSizeMB) << 20,
		CheckpointAge: 10 * time.Minute,
	}
	t.DegradedAge, t.ErrorAge = c.UploadAge()
	for _, m := range c.Metrics {
		if m.Collected() {
			t.Expected = append(t.Expected, Expected{m.Name, m.Interval})
		}
	}
	t.NoCollectors = len(t.Expected) == 0
	return t
}
