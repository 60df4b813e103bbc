package ship

import (
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/self"
)

const (
	// How often they are taken: what we say about ourselves stays below a tenth
	// of all that is said.
	oftenEvery     = time.Minute
	seldomEvery    = 3 * time.Minute
	durationsEvery = 10 * time.Minute

	uploaded  = "uploader.metrics_uploaded_total"
	failures  = "uploader.upload_failures_total"
	partial   = "uploader.partial_success_total"
	bytesSent = "uploader.bytes_sent_total"
	duration  = "uploader.upload_duration_seconds"
	rejected  = "storage.rejected_total"
)

// own is what the shipper says about itself. The counts are written with what
// they count, and only those that changed.
type own struct {
	self.Voice
	written map[string]float64 // by name and tags

	often, seldom, durations self.Beat
}

func newOwn(daemon string) own {
	return own{
		Voice: self.New(daemon), written: map[string]float64{},
		often: self.Beat{Every: oftenEvery}, seldom: self.Beat{Every: seldomEvery}, durations: self.Beat{Every: durationsEvery},
	}
}

func (o *own) restore(counts []metric.Count) {
	for _, name := range []string{uploaded, failures, partial, bytesSent, rejected} {
		o.Tally.Add(name, 0)
	}
	o.Restore(counts, "uploader.", rejected)
	o.wrote(o.Tally.All())
}

// changed returns the counts that are not written yet, others among them.
func (o *own) changed(others []metric.Count) []metric.Count {
	return slices.DeleteFunc(append(o.Tally.All(), others...), func(c metric.Count) bool {
		old, known := o.written[c.Name+c.Tags]
		return known && old == c.Value
	})
}

func (o *own) wrote(counts []metric.Count) {
	for _, c := range counts {
		o.written[c.Name+c.Tags] = c.Value
	}
}

// samples returns what is due to be said now.
func (o *own) samples(now time.Time) []metric.Sample {
	at := now.UnixMilli()
	var all []metric.Sample
	if o.often.Due(now) {
		all = o.Samples(at, ofDelivery)
	}
	if o.seldom.Due(now) {
		all = append(all, o.Samples(at, func(name string) bool { return !ofDelivery(name) && !self.OfHistogram(name) })...)
		all = append(all, o.Process(at)...)
	}
	if o.durations.Due(now) {
		all = append(all, o.Samples(at, self.OfHistogram)...)
	}
	return all
}

// postpone lets nothing be said until the next beat.
func (o *own) postpone(now time.Time) {
	o.often.Start(now, oftenEvery)
	o.seldom.Start(now, seldomEvery)
	o.durations.Start(now, durationsEvery)
}

// ofDelivery names the counts that a chart of the deliveries shows.
func ofDelivery(name string) bool { return name == uploaded || name == failures || name == bytesSent }
