package upkeep

import (
	"context"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// ageEvery is how often samples that are too old are deleted, and wholeEvery how
	// often that begins again at the oldest sample: some are delivered late.
	ageEvery   = 10 * time.Minute
	wholeEvery = time.Hour
)

// byAge deletes delivered samples that are older than storage.retention, and old
// receipts and sessions.
type byAge struct {
	ageSweep store.Sweep
	oldest   int64        // Unix milliseconds; older samples are deleted
	young    []store.Span // delivered within remote.settle
	aging    bool
	ageDue   time.Time
	wholeDue time.Time
}

// age deletes a slice of the delivered samples that are too old, then of the old
// receipts and sessions.
func (k *Keeper) age(ctx context.Context, now time.Time) (more bool, err error) {
	if !k.aging {
		if now.Before(k.ageDue) {
			return false, nil
		}
		k.ageDue = now.Add(min(ageEvery, k.cfg.Retention/10))
		if trusted, err := k.clockTrusted(ctx); !trusted || err != nil {
			return false, err // by a clock that is ahead all samples would be too old
		}
		// Samples that were delivered within remote.settle may have to be sent again,
		// also if they were already old then, as after a long outage.
		if k.young, err = k.db.DeliveredSince(ctx, now.Add(-k.settle).UnixMilli()); err != nil {
			return false, err
		}
		k.aging, k.oldest = true, now.Add(-max(k.cfg.Retention, k.settle)).UnixMilli()
		if !now.Before(k.wholeDue) {
			k.ageSweep, k.wholeDue = store.Sweep{}, now.Add(min(wholeEvery, k.cfg.Retention))
		}
	}
	n, done, err := k.db.DeleteDelivered(ctx, &k.ageSweep, k.oldest, k.young)
	k.series.gone += n
	if !done || err != nil {
		return err == nil, err
	}
	n, err = k.db.TrimHistory(ctx, k.oldest)
	k.aging = n > 0 && err == nil
	return k.aging, err
}

// clockTrusted says whether the wall clock was confirmed in this boot.
func (k *Keeper) clockTrusted(ctx context.Context) (bool, error) {
	clock, _, known, err := k.db.RecordedClock(ctx, k.bootID)
	return known && clock.Trusted || k.bootID == "", err
}
