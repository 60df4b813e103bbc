package sampling

import (
	"time"

	"github.com/taniwha3/thugshells/shared/selfmetrics"
)

// newReporter makes the collector's self-metrics. The counts of the single collectors
// are many and change slowly; a new run first reports them after a minute.
func newReporter(daemon string, now time.Time) selfmetrics.Reporter {
	return selfmetrics.New(daemon, now,
		selfmetrics.Group{Every: 3 * time.Minute, Process: true},
		selfmetrics.Group{
			Every: 5 * time.Minute, First: time.Minute,
			Of: func(name string) bool { return !selfmetrics.OfHistogram(name) },
		},
		selfmetrics.Group{Every: 10 * time.Minute, First: time.Minute, Of: selfmetrics.OfHistogram},
	)
}
