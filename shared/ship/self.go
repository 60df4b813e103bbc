package ship

import (
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/selfmetrics"
)

const (
	uploaded  = "uploader.metrics_uploaded_total"
	failures  = "uploader.upload_failures_total"
	partial   = "uploader.partial_success_total"
	bytesSent = "uploader.bytes_sent_total"
	duration  = "uploader.upload_duration_seconds"
	rejected  = "storage.rejected_total"
)

// selfMetrics is the shipper's self-metrics. A count is written in the transaction of
// what it counts, and only if it changed.
type selfMetrics struct {
	selfmetrics.Reporter
	written map[string]float64 // by name and tags
}

func newSelfMetrics(daemon string) selfMetrics {
	rest := func(name string) bool { return !ofDelivery(name) && !selfmetrics.OfHistogram(name) }
	return selfMetrics{written: map[string]float64{}, Reporter: selfmetrics.New(daemon, time.Now(),
		selfmetrics.Group{Every: time.Minute, Of: ofDelivery},
		selfmetrics.Group{Every: 3 * time.Minute, Of: rest, Process: true},
		selfmetrics.Group{Every: 10 * time.Minute, Of: selfmetrics.OfHistogram},
	)}
}

func (o *selfMetrics) restore(counts []metric.Count) {
	for _, name := range []string{uploaded, failures, partial, bytesSent, rejected} {
		o.Tally.Add(name, 0)
	}
	o.Restore(counts, "uploader.", rejected)
	o.wrote(o.Tally.All())
}

// changed returns the counts that are not written yet, including others.
func (o *selfMetrics) changed(others []metric.Count) []metric.Count {
	return slices.DeleteFunc(append(o.Tally.All(), others...), func(c metric.Count) bool {
		old, known := o.written[c.Name+c.Tags]
		return known && old == c.Value
	})
}

func (o *selfMetrics) wrote(counts []metric.Count) {
	for _, c := range counts {
		o.written[c.Name+c.Tags] = c.Value
	}
}

// ofDelivery says whether a chart of the deliveries shows a count.
func ofDelivery(name string) bool { return name == uploaded || name == failures || name == bytesSent }
