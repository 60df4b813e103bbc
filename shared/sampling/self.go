package sampling

import (
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/self"
)

const (
	// What we say about ourselves stays below a tenth of all that is said: the
	// counts of each collector are many, and slow to change.
	processEvery   = 3 * time.Minute
	countsEvery    = 5 * time.Minute
	durationsEvery = 10 * time.Minute
	// firstWord is when a new run first says what it counted.
	firstWord = time.Minute
)

// own is what the collector says about itself.
type own struct {
	self.Voice
	process, counts, durations self.Beat
}

func newOwn(daemon string, now time.Time) own {
	o := own{
		Voice:   self.New(daemon),
		process: self.Beat{Every: processEvery}, counts: self.Beat{Every: countsEvery}, durations: self.Beat{Every: durationsEvery},
	}
	o.counts.Start(now, firstWord)
	o.durations.Start(now, firstWord)
	return o
}

// samples returns what is due to be said now.
func (o *own) samples(now time.Time) []metric.Sample {
	var all []metric.Sample
	if o.process.Due(now) {
		all = o.Process(now.UnixMilli())
	}
	if o.counts.Due(now) {
		all = append(all, o.Samples(now.UnixMilli(), func(name string) bool { return !self.OfHistogram(name) })...)
	}
	if o.durations.Due(now) {
		all = append(all, o.Samples(now.UnixMilli(), self.OfHistogram)...)
	}
	return all
}
