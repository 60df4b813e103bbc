package upkeep

import (
	"context"
	"math"
	"path/filepath"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	mega = 1 << 20
	// ageEvery is how often what is too old is deleted, and wholeEvery how often
	// that begins again at the oldest sample: some are delivered late.
	ageEvery   = 10 * time.Minute
	wholeEvery = time.Hour
	// keptLog is the length that an emptied log file keeps: about what two hours
	// of collecting fill.
	keptLog = 16 * mega
	// tightLog is where the log is emptied while the filesystem is short of room.
	tightLog = 4 * mega
	// returnedPages go back to the filesystem in one slice, when there are some.
	returnedPages = 256
)

// figures are one look at the files, and what follows from it.
type figures struct {
	sizes store.Sizes
	room  store.PageUse
	free  int64 // on the filesystem
	want  int64 // of that, should be free; 0: does not matter

	limit    int64  // bytes that rows may take
	reason   string // what sets the limit: status.LostSizeLimit or status.LostLowSpace
	logLimit int64  // bytes of the log at which it is emptied
	logKept  int64  // length that its file keeps then
}

// short is how many bytes too few are free.
func (f figures) short() int64 { return max(0, f.want-f.free) }

func (k *Keeper) look(ctx context.Context) (f figures, err error) {
	if f.sizes, err = k.db.Sizes(); err != nil {
		return f, err
	}
	if f.room, err = k.db.PageUse(ctx); err != nil {
		return f, err
	}
	if k.cfg.MinFreeMB > 0 {
		space, err := hostfs.Filesystem(filepath.Dir(k.db.Path()))
		if err != nil {
			return f, err
		}
		f.free, f.want = int64(min(space.Available, math.MaxInt64)), int64(k.cfg.MinFreeMB)*mega
	}
	f.decide(int64(k.cfg.MaxSizeMB)*mega, int64(k.cfg.WALCheckpointSizeMB)*mega)
	return f, nil
}

// decide divides what the database may take between the rows and the log. The
// log has a quarter at most, so that both together stay within the bound. When
// the filesystem is short of room, the rows make way for others', but keep an
// eighth of the bound: giving up more would cost the past and gain little.
func (f *figures) decide(maxSize, logSize int64) {
	f.logLimit = min(logSize, maxSize/4)
	f.limit, f.reason = maxSize-f.logLimit, status.LostSizeLimit
	if f.want > 0 {
		// The sum stays the same while bytes go from one to the other.
		log := min(tightLog, f.logLimit)
		left := f.sizes.Database + f.sizes.WAL + f.free - f.want - log
		if !f.room.Returnable {
			// What the file has it keeps; to delete rows from it frees nothing.
			left = max(left, f.room.Pages*f.room.PageSize)
		}
		if left < f.limit {
			f.limit, f.reason = max(left, maxSize/8), status.LostLowSpace
		}
		if f.short() > 0 {
			f.logLimit = log
		}
	}
	f.logKept = min(keptLog, f.logLimit/2)
}

// retention is what the keeper remembers of deleting.
type retention struct {
	free, short int64 // of the last look, for the status

	evicting string // the reason for which room is made; "": none is needed
	bySize   store.Sweep
	tier     int          // of what was delivered: the next that goes
	kept     []store.Span // of this tier
	from     int64        // the ledger's count of delivered when the first tier was begun
	swept    int64        // the same, when all tiers were gone through at last; -1: never
	inPass   int          // deleted since the first tier was begun
	giving   bool         // that was little: something else has to go as well
	begun    time.Time
	deleted  int // finished samples
	lost     int // samples that were not delivered

	byAge    store.Sweep
	oldest   int64        // Unix milliseconds; older ones go
	young    []store.Span // delivered within remote.settle
	aging    bool
	ageDue   time.Time
	wholeDue time.Time

	cut bool // pages were returned: a checkpoint shortens the file
}

// retain does one slice of what is due.
func (k *Keeper) retain(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	used := f.room.Used()
	if k.evicting == "" && used > f.limit {
		k.evicting, k.bySize, k.begun, k.deleted, k.lost = f.reason, store.Sweep{}, now, 0, 0
		k.tier, k.inPass, k.giving = 0, 0, false
	}
	if k.evicting != "" {
		// A little more goes than must, or each round of collecting would find
		// the limit reached again.
		if used > f.limit-f.limit/64 {
			if more, err = k.makeRoom(ctx, f, now); more || err != nil {
				return more, err
			}
		}
		if k.deleted+k.lost > 0 {
			k.log.Info("room made in the database", "reason", k.evicting, "delivered_deleted", k.deleted, "lost", k.lost,
				"limit_bytes", f.limit, "duration_ms", now.Sub(k.begun).Milliseconds())
		}
		k.evicting = ""
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

// makeRoom deletes a slice: of what was delivered as long as there is any, then
// of what was not. Of what was delivered goes first what settled, then what the
// server would have to crash soon to miss, and then the rest. False means that
// nothing is left to delete.
func (k *Keeper) makeRoom(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	ledger, _, err := k.db.Ledger(ctx)
	if err != nil {
		return false, err
	}
	// Tiers in which nothing is found are read whole: that is not done twice while
	// nothing was delivered in between.
	if k.swept != ledger.Delivered && !k.giving {
		tiers := k.tiers()
		if k.bySize == (store.Sweep{}) {
			if k.tier == 0 {
				k.from = ledger.Delivered
			}
			if k.kept, err = k.deliveredSince(ctx, now, tiers[k.tier]); err != nil {
				return false, err
			}
		}
		n, done, err := k.db.DeleteDelivered(ctx, &k.bySize, math.MaxInt64, k.kept)
		k.deleted += n
		k.inPass += n
		k.series.gone += n
		if done {
			k.bySize = store.Sweep{}
			// All tiers together may hold less than a slice, and always something while
			// samples are delivered: then a slice of the others goes as well.
			if k.tier++; k.tier == len(tiers) {
				k.tier, k.swept, k.giving, k.inPass = 0, k.from, k.inPass < store.SliceRows, 0
			}
		}
		return true, err
	}
	k.giving = false
	if k.evicting == status.LostLowSpace {
		// What is in older damaged files was salvaged; what is given up is not.
		if removed, err := k.TrimKept(1); removed > 0 || err != nil {
			return true, err
		}
	}
	if more, err := k.forgetFirst(ctx, f, now); more || err != nil {
		return true, err
	}
	// All that was delivered is gone: of its receipts the newest is enough.
	if n, err := k.db.TrimHistory(ctx, now.Add(-config.Unsettled).UnixMilli()); n > 0 || err != nil {
		return true, err
	}
	n, err := k.db.DropUndelivered(ctx, k.evicting, time.Now())
	k.series.gone += n
	k.series.tight = k.series.tight || n > 0
	if n > 0 && k.lost == 0 {
		k.log.Warn("no room for all that was not delivered; the oldest of the lowest priority is given up and counted",
			"reason", k.evicting, "limit_bytes", f.limit, "pending", ledger.Pending)
	}
	k.lost += n
	return n > 0, err
}

// returnPages gives a slice of the free pages back to the filesystem, if there
// are more than the next rows will take soon and the room is wanted: otherwise
// they are left to those rows, which costs nothing.
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

// age deletes a slice of the delivered samples that are too old, and of the
// history of receipts and sessions.
func (k *Keeper) age(ctx context.Context, now time.Time) (more bool, err error) {
	if !k.aging {
		if now.Before(k.ageDue) {
			return false, nil
		}
		k.ageDue = now.Add(min(ageEvery, k.cfg.Retention/10))
		if trusted, err := k.clockTrusted(ctx); !trusted || err != nil {
			return false, err // by a clock that is ahead all would be old
		}
		// What was delivered is sent again when a server lost it, within remote.settle:
		// also what was old already when it was delivered, as after a long outage.
		if k.young, err = k.db.DeliveredSince(ctx, now.Add(-k.settle).UnixMilli()); err != nil {
			return false, err
		}
		k.aging, k.oldest = true, now.Add(-max(k.cfg.Retention, k.settle)).UnixMilli()
		if !now.Before(k.wholeDue) {
			k.byAge, k.wholeDue = store.Sweep{}, now.Add(min(wholeEvery, k.cfg.Retention))
		}
	}
	n, done, err := k.db.DeleteDelivered(ctx, &k.byAge, k.oldest, k.young)
	k.series.gone += n
	if !done || err != nil {
		return err == nil, err
	}
	n, err = k.db.TrimHistory(ctx, k.oldest)
	k.aging = n > 0 && err == nil
	return k.aging, err
}

// clockTrusted says whether anything vouches for the wall clock in this boot.
func (k *Keeper) clockTrusted(ctx context.Context) (bool, error) {
	clock, _, known, err := k.db.RecordedClock(ctx, k.bootID)
	return known && clock.Trusted || k.bootID == "", err
}
