package collect

import (
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// A Keeper is a collector that goes on where the run before it stopped: what it
// counted, and where it is in its source, is stored in the same transaction as the
// samples that came of it. Its caller calls Observe in place of Collect, and
// not before Restore.
type Keeper interface {
	Collector
	// Restore takes over what the last Observation said that was stored.
	Restore(k Kept)
	// Observe is Collect with all that is to be stored together.
	Observe(now Moment) (Observation, error)
}

// Kept is what the database kept of an earlier run.
type Kept struct {
	State  string         // what Observation.State was, as JSON; "" or {}: nothing
	Counts []metric.Count // all there are, also those of others
	// The boot in which the clock was judged last, and how. Times of an earlier
	// boot whose clock was not trusted are not known.
	BootID       string
	ClockTrusted bool
}

// A Moment is one reading of the clocks.
type Moment struct {
	Wall         time.Time
	Boot         time.Duration // CLOCK_BOOTTIME
	BootID       string
	ClockTrusted bool // when it was judged last; the times of what is not trusted are mended later
}

// An Observation is what one Observe has to say.
type Observation struct {
	Samples []metric.Sample // by the clock of this boot
	Events  []metric.Event
	Earlier Past // by the clocks of earlier boots: the times are right as they are
	State   any  // where the collector is
	Counts  []metric.Count
	Keep    bool // State and Counts must be stored, although there may be no samples
	Soon    bool // there is more to read: it wants to be asked again in a second
	Wait    bool // it may be stored with the next samples of others; Restore finds it again
}

// Past is samples and events of earlier boots.
type Past struct {
	Samples []metric.Sample
	Events  []metric.Event
}
