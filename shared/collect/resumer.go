package collect

import (
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// A Resumer is a collector that continues where the last run stopped: its counts and its
// place in its source are stored in the same transaction as the samples that come from
// them. Its caller calls Observe instead of Collect, and not before Restore.
type Resumer interface {
	Collector
	// Restore takes over the last Observation that was stored.
	Restore(k LastRun)
	// Observe is Collect with everything that must be stored together.
	Observe(now Moment) (Observation, error)
}

// LastRun is what the database has of an earlier run.
type LastRun struct {
	State  string         // what Observation.State was, as JSON; "" or {}: nothing
	Counts []metric.Count // all there are, also those of others
	// The boot in which the clock was last checked, and the result. Times of an earlier
	// boot whose clock was not trusted are not known.
	BootID       string
	ClockTrusted bool
}

// A Moment is one reading of the clocks.
type Moment struct {
	Wall         time.Time
	Boot         time.Duration // CLOCK_BOOTTIME
	BootID       string
	ClockTrusted bool // at the last check; if false, the times are corrected later
}

// An Observation is the result of one Observe.
type Observation struct {
	Samples []metric.Sample // by the clock of this boot
	Events  []metric.Event
	Earlier Past // of earlier boots: their times are not corrected
	State   any  // the collector's place in its source
	Counts  []metric.Count
	Keep    bool // State and Counts must be stored, although there may be no samples
	Soon    bool // there is more to read: run it again in a second
	Wait    bool // it may be stored with the next samples of others; Restore finds it again
}

// Past is samples and events of earlier boots.
type Past struct {
	Samples []metric.Sample
	Events  []metric.Event
}
