package upkeep

import (
	"context"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// returnedPages is how many pages are returned to the filesystem in one slice.
const returnedPages = 256

// room is the state of the filesystem.
type room struct {
	free, short int64
	cut         bool // pages were returned: the next checkpoint makes the file shorter
}

// retain deletes one slice of what is due: first to make room, then samples that are
// too old, then series without samples.
func (k *Keeper) retain(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	if more, err = k.makeRoom(ctx, f, now); more || err != nil {
		return more, err
	}
	if more, err = k.returnPages(ctx, f); more || err != nil {
		return more, err
	}
	if k.series.pressed || k.series.work != noSeriesWork {
		if more, err = k.forgetSeries(ctx, now); more || err != nil {
			return more, err
		}
	}
	if more, err = k.age(ctx, now); more || err != nil {
		return more, err
	}
	return k.forgetSeries(ctx, now)
}

// returnPages returns a slice of the free pages to the filesystem if room is short
// and there are many of them. Otherwise they are kept for the next rows, which costs
// nothing.
func (k *Keeper) returnPages(ctx context.Context, f figures) (more bool, err error) {
	tooLong := f.short() > 0 || f.room.Pages*f.room.PageSize > f.limit
	if tooLong && f.room.Returnable && f.room.FreePages >= returnedPages {
		n, err := k.db.ReturnPages(ctx, returnedPages)
		k.cut = k.cut || n > 0
		return n > 0, err
	}
	if k.cut {
		k.cut = false
		return false, k.checkpoint(ctx, 0)
	}
	return false, nil
}

// deliveredWithin returns the times of the samples that were delivered within the
// given time.
func (k *Keeper) deliveredWithin(ctx context.Context, now time.Time, within time.Duration) ([]store.Span, error) {
	if within <= 0 {
		return nil, nil
	}
	return k.db.DeliveredSince(ctx, now.Add(-within).UnixMilli())
}
