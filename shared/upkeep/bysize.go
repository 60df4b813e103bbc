package upkeep

import (
	"context"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// bySize makes room when the database outgrows its limit, in the order of
// docs/durability.md, "When there is no room":
//
//  1. delivered samples, tier by tier: those delivered longer than remote.settle
//     ago, those delivered more than two minutes ago, the rest; in each the oldest
//     first;
//  2. series without samples, and the receipts of what is gone;
//  3. what was not delivered, which store.DB.DropUndelivered orders.
type bySize struct {
	evicting        string // the reason for which room is made; "": none is needed
	sizeSweep       store.Sweep
	tier            int          // of what was delivered: the next that goes
	kept            []store.Span // of this tier
	from            int64        // the ledger's count of delivered when the first tier was begun
	passDoneAt      int64        // the same, when all tiers were gone through at last; -1: never
	deletedInPass   int          // since the first tier was begun
	alsoUndelivered bool         // that was little: a slice of what was not delivered goes as well
	begun           time.Time
	deleted         int // delivered samples
	lost            int // samples that were not delivered
}

// makeRoom does one slice of it. Once begun, it goes on to a little below the
// limit, or each round of collecting would find it reached again.
func (k *Keeper) makeRoom(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	used := f.room.Used()
	if k.evicting == "" && used > f.limit {
		k.bySize = bySize{evicting: f.reason, begun: now, passDoneAt: k.passDoneAt}
	}
	if k.evicting == "" {
		return false, nil
	}
	if used > f.limit-f.limit/64 {
		if more, err = k.evict(ctx, f, now); more || err != nil {
			return more, err
		}
	}
	if k.deleted+k.lost > 0 {
		k.log.Info("room made in the database", "reason", k.evicting, "delivered_deleted", k.deleted, "lost", k.lost,
			"limit_bytes", f.limit, "duration_ms", now.Sub(k.begun).Milliseconds())
	}
	k.evicting = ""
	return false, nil
}

// evict deletes a slice: of what was delivered as long as there is any, then
// of what was not. Of what was delivered goes first what settled, then what the
// server would have to crash soon to miss, and then the rest. False means that
// nothing is left to delete.
func (k *Keeper) evict(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	ledger, _, err := k.db.Ledger(ctx)
	if err != nil {
		return false, err
	}
	// Tiers in which nothing is found are read whole: that is not done twice while
	// nothing was delivered in between.
	if k.passDoneAt != ledger.Delivered && !k.alsoUndelivered {
		tiers := k.tiers()
		if k.sizeSweep == (store.Sweep{}) {
			if k.tier == 0 {
				k.from = ledger.Delivered
			}
			if k.kept, err = k.deliveredSince(ctx, now, tiers[k.tier]); err != nil {
				return false, err
			}
		}
		n, done, err := k.db.DeleteDelivered(ctx, &k.sizeSweep, math.MaxInt64, k.kept)
		k.deleted += n
		k.deletedInPass += n
		k.series.gone += n
		if done {
			k.sizeSweep = store.Sweep{}
			// All tiers together may hold less than a slice, and always something while
			// samples are delivered: then a slice of the others goes as well.
			if k.tier++; k.tier == len(tiers) {
				k.tier, k.passDoneAt, k.alsoUndelivered, k.deletedInPass = 0, k.from, k.deletedInPass < store.SliceRows, 0
			}
		}
		return true, err
	}
	k.alsoUndelivered = false
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
		k.log.Warn("no room for all undelivered samples; the oldest of the lowest priority are deleted and counted as lost",
			"reason", k.evicting, "limit_bytes", f.limit, "pending", ledger.Pending)
	}
	k.lost += n
	return n > 0, err
}
