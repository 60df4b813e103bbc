// Package selfmetrics makes samples of what a daemon does: processor time, memory
// and bytes written of its process, and what it counts in a tally. Each group of
// them has a schedule of its own, so that they stay below a tenth of all samples.
//
// The one rule here: a counter never goes back, also not over a restart. The daemon stores
// the reported counts (store.Update.Counters) and passes them to Restore before it reports
// anything.
package selfmetrics

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

// A Reporter makes the self-metrics of one daemon. It is owned by one goroutine.
type Reporter struct {
	Tally metric.Tally // all counts, those of the process included

	daemon string
	used   hostfs.SelfUse // by this process when it was last looked at
	groups []scheduledGroup
}

// A Group is samples that become due together.
type Group struct {
	Every   time.Duration
	First   time.Duration          // wait of a new run before the first; 0: at once
	Of      func(name string) bool // which counts; nil: none
	Process bool                   // the figures of the process
}

type scheduledGroup struct {
	Group
	schedule Schedule
}

// New makes the reporter of a daemon.
func New(daemon string, now time.Time, groups ...Group) Reporter {
	r := Reporter{daemon: daemon}
	for _, g := range groups {
		s := scheduledGroup{g, Schedule{Every: g.Every}}
		if g.First > 0 {
			s.schedule.Start(now, g.First)
		}
		r.groups = append(r.groups, s)
	}
	return r
}

// Due returns the samples that are due now.
func (r *Reporter) Due(now time.Time) []metric.Sample {
	var all []metric.Sample
	for i := range r.groups {
		g := &r.groups[i]
		if !g.schedule.Due(now) {
			continue
		}
		if g.Of != nil {
			all = append(all, r.counts(now.UnixMilli(), g.Of)...)
		}
		if g.Process {
			all = append(all, r.process(now.UnixMilli())...)
		}
	}
	return all
}

// Postpone delays every group by its interval.
func (r *Reporter) Postpone(now time.Time) {
	for i := range r.groups {
		r.groups[i].schedule.Start(now, r.groups[i].Every)
	}
}

// Restore takes over what an earlier run of the same daemon reported: the counts
// whose names begin with a prefix, and those of its process.
func (r *Reporter) Restore(counts []metric.Count, prefixes ...string) {
	process := metric.Tags("daemon", r.daemon)
	r.Tally.Restore(slices.DeleteFunc(slices.Clone(counts), func(c metric.Count) bool {
		if c.Name == cpuSeconds || c.Name == written {
			return c.Tags != process
		}
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.Name, p) })
	}))
}

// process returns the figures of this process now. One that cannot be read is
// left out; the next time tries again.
func (r *Reporter) process(timeMs int64) []metric.Sample {
	use, err := hostfs.Self()
	if err != nil && use.ResidentBytes < 0 && use.WrittenBytes < 0 {
		return nil
	}
	r.Tally.Add(cpuSeconds, max(0, use.CPUSeconds-r.used.CPUSeconds), "daemon", r.daemon)
	names := []string{cpuSeconds}
	if use.WrittenBytes >= 0 {
		r.Tally.Add(written, max(0, float64(use.WrittenBytes-r.used.WrittenBytes)), "daemon", r.daemon)
		names = append(names, written)
	} else {
		use.WrittenBytes = r.used.WrittenBytes
	}
	r.used = use
	tags := metric.Tags("daemon", r.daemon)
	var all []metric.Sample
	for _, name := range names {
		all = append(all, metric.Sample{Name: name, Tags: tags, TimeMs: timeMs, Value: metric.Round(r.Tally.Value(name, "daemon", r.daemon))})
	}
	if use.ResidentBytes >= 0 {
		all = append(all, metric.Sample{Name: resident, Tags: tags, TimeMs: timeMs, Value: float64(use.ResidentBytes)})
	}
	return all
}

// counts returns the tally's series whose names pass, except the process's.
func (r *Reporter) counts(timeMs int64, pass func(name string) bool) []metric.Sample {
	return slices.DeleteFunc(r.Tally.Samples(timeMs), func(s metric.Sample) bool {
		return strings.HasPrefix(s.Name, "process.") || !pass(s.Name)
	})
}

// OfHistogram says whether a stored name is a part of a histogram.
func OfHistogram(name string) bool {
	e, known := metric.Lookup(name)
	return known && e.Kind == metric.Histogram
}
