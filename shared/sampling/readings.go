package sampling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
)

// A Reading is what one collector returned.
type Reading struct {
	Collector string
	Samples   []metric.Sample
	Err       error // see collect.Failed
}

// ReadNow runs collectors at the same time, and a second later again those that report
// a difference, and returns their samples. Nothing is stored.
func ReadNow(ctx context.Context, all []collect.Scheduled) ([]Reading, error) {
	readings := readOnce(ctx, all)
	var again []collect.Scheduled
	var places []int
	for i, r := range readings {
		if errors.Is(r.Err, collect.ErrNoData) && !all[i].Optional {
			again, places = append(again, all[i]), append(places, i)
		}
	}
	if len(again) > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
		for i, r := range readOnce(ctx, again) {
			readings[places[i]] = r
		}
	}
	return readings, ctx.Err()
}

func readOnce(ctx context.Context, all []collect.Scheduled) []Reading {
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	started := make([]*scheduled, len(all))
	now := collect.Moment{Wall: time.Now()}
	for i, s := range all {
		started[i] = &scheduled{Scheduled: s}
		started[i].start(now)
	}
	readings := make([]Reading, len(all))
	for i, s := range started {
		readings[i].Collector = s.Name
		select {
		case got := <-s.answer:
			readings[i].Samples, readings[i].Err = got.Samples, got.err
		case <-ctx.Done():
			readings[i].Err = fmt.Errorf("%w for %s", errTimeout, collectTimeout)
		}
	}
	return readings
}
