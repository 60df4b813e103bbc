// Package self is what a daemon says about its own process, as samples like any
// others: processor time, memory, bytes written, and what it counts in a tally.
//
// The one rule here: a counter never goes back, also not over a restart. What was
// said is kept by the daemon (store.Update.Counters) and given back to Restore
// before anything is said again.
package self

import (
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	cpuSeconds = "process.cpu_seconds_total"
	resident   = "process.resident_memory_bytes"
	written    = "process.written_bytes_total"
)

// A Voice speaks for one daemon. It is owned by one goroutine.
type Voice struct {
	Tally metric.Tally // all counts, those of the process included

	daemon string
	used   hostfs.SelfUse // by this process when it was last looked at
}

// New makes the voice of a daemon.
func New(daemon string) Voice { return Voice{daemon: daemon} }

// Restore takes over what an earlier run of the same daemon said: the counts
// whose names begin with a prefix, and those of its process.
func (v *Voice) Restore(counts []metric.Count, prefixes ...string) {
	process := metric.Tags("daemon", v.daemon)
	v.Tally.Restore(slices.DeleteFunc(slices.Clone(counts), func(c metric.Count) bool {
		if c.Name == cpuSeconds || c.Name == written {
			return c.Tags != process
		}
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.Name, p) })
	}))
}

// Process returns the figures of this process now. One that cannot be read is
// left out; the next time tries again.
func (v *Voice) Process(timeMs int64) []metric.Sample {
	use, err := hostfs.Self()
	if err != nil && use.ResidentBytes < 0 && use.WrittenBytes < 0 {
		return nil
	}
	v.Tally.Add(cpuSeconds, max(0, use.CPUSeconds-v.used.CPUSeconds), "daemon", v.daemon)
	names := []string{cpuSeconds}
	if use.WrittenBytes >= 0 {
		v.Tally.Add(written, max(0, float64(use.WrittenBytes-v.used.WrittenBytes)), "daemon", v.daemon)
		names = append(names, written)
	} else {
		use.WrittenBytes = v.used.WrittenBytes
	}
	v.used = use
	tags := metric.Tags("daemon", v.daemon)
	var all []metric.Sample
	for _, name := range names {
		all = append(all, metric.Sample{Name: name, Tags: tags, TimeMs: timeMs, Value: metric.Round(v.Tally.Value(name, "daemon", v.daemon))})
	}
	if use.ResidentBytes >= 0 {
		all = append(all, metric.Sample{Name: resident, Tags: tags, TimeMs: timeMs, Value: float64(use.ResidentBytes)})
	}
	return all
}

// Samples returns the tally's series whose names pass, save for the process's.
func (v *Voice) Samples(timeMs int64, pass func(name string) bool) []metric.Sample {
	return slices.DeleteFunc(v.Tally.Samples(timeMs), func(s metric.Sample) bool {
		return strings.HasPrefix(s.Name, "process.") || !pass(s.Name)
	})
}

// OfHistogram says whether a stored name is a part of a histogram.
func OfHistogram(name string) bool {
	e, known := metric.Lookup(name)
	return known && e.Kind == metric.Histogram
}

// A Beat says when something is due that is said every so often. The zero Beat
// with an interval is due at once.
type Beat struct {
	Every time.Duration
	due   time.Time
}

// Start makes the beat due after wait, seen from now.
func (b *Beat) Start(now time.Time, wait time.Duration) { b.due = now.Add(wait) }

// Due says whether it is due now, and then waits for the next beat. A moment
// before its time is in time: whoever asks does so on a beat of its own, and one
// missed by a millisecond would be one left out.
func (b *Beat) Due(now time.Time) bool {
	if now.Before(b.due.Add(-b.Every / 20)) {
		return false
	}
	if b.due.IsZero() || now.Sub(b.due) >= b.Every {
		b.due = now
	}
	b.due = b.due.Add(b.Every)
	return true
}
