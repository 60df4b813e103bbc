package metric

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// A Tally has a daemon's counters and histograms. They only grow, also over restarts, if
// the result of All is stored and passed to Restore. It is owned by one goroutine.
type Tally struct{ counts map[seriesOfTally]float64 }

type seriesOfTally struct{ name, tags string }

// A Count is one series of a tally and its value.
type Count struct {
	Name  string
	Tags  string // canonical JSON, or ""
	Value float64
}

// durationBounds are the upper bounds, in seconds, of every duration histogram:
// few, because each is a series on a metered link.
var durationBounds = []float64{0.01, 0.1, 1}

// Restore takes over the counts of an earlier run.
func (t *Tally) Restore(counts []Count) {
	for _, c := range counts {
		t.add(c.Name, c.Tags, c.Value)
	}
}

// Add adds n to a counter. Adding 0 makes the series known, so that it starts
// from 0 at the server and its first increase can be seen.
func (t *Tally) Add(name string, n float64, tagPairs ...string) {
	t.add(name, Tags(tagPairs...), n)
}

// Observe enters one duration, in seconds, into a histogram: cumulative buckets
// name_bucket with the tag le, name_sum and name_count.
func (t *Tally) Observe(name string, seconds float64, tagPairs ...string) {
	for _, bound := range durationBounds {
		hit := 0.0
		if seconds <= bound {
			hit = 1
		}
		le := strconv.FormatFloat(bound, 'g', -1, 64)
		t.add(name+"_bucket", Tags(append(slices.Clone(tagPairs), "le", le)...), hit)
	}
	t.add(name+"_bucket", Tags(append(slices.Clone(tagPairs), "le", "+Inf")...), 1)
	t.add(name+"_sum", Tags(tagPairs...), seconds)
	t.add(name+"_count", Tags(tagPairs...), 1)
}

func (t *Tally) add(name, tags string, n float64) {
	if t.counts == nil {
		t.counts = map[seriesOfTally]float64{}
	}
	t.counts[seriesOfTally{name, tags}] += n
}

// Value returns one series' value, 0 for one that is not known.
func (t *Tally) Value(name string, tagPairs ...string) float64 {
	return t.counts[seriesOfTally{name, Tags(tagPairs...)}]
}

// All returns every series, in order of name and tags.
func (t *Tally) All() []Count {
	keys := slices.SortedFunc(maps.Keys(t.counts), func(a, b seriesOfTally) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.tags, b.tags))
	})
	all := make([]Count, len(keys))
	for i, k := range keys {
		all[i] = Count{k.name, k.tags, t.counts[k]}
	}
	return all
}

// Samples returns every series as a sample at the given time.
func (t *Tally) Samples(timeMs int64) []Sample {
	all := t.All()
	samples := make([]Sample, len(all))
	for i, c := range all {
		samples[i] = Sample{Name: c.Name, Tags: c.Tags, TimeMs: timeMs, Value: Round(c.Value)}
	}
	return samples
}
