package upkeep

import (
	"context"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// bySize deletes samples while the database is larger than its limit.
type bySize struct {
	evicting string // the reason for which room is made; "": none is needed
	begun    time.Time
	deleted  int // delivered samples
	lost     int // undelivered samples

	tier            int // of tiers(): the one that is being deleted
	sizeSweep       store.Sweep
	kept            []store.Span // times that stay in this tier
	from            int64        // the ledger's count of delivered samples when the first tier began
	deletedInPass   int          // since then
	passDoneAt      int64        // from, of the last walk through all tiers; -1: there was none
	alsoUndelivered bool         // that walk deleted less than a slice: the next slice is of undelivered samples
}

// makeRoom deletes one slice. Once begun, it continues until the database is a
// little below the limit: otherwise the next round of collecting would reach the
// limit again.
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
		k.log.Info("samples were deleted to make room", "reason", k.evicting, "delivered_deleted", k.deleted, "lost", k.lost,
			"limit_bytes", f.limit, "duration_ms", now.Sub(k.begun).Milliseconds())
	}
	k.evicting = ""
	return false, nil
}

// tiers says which delivered samples are deleted first, in the order of
// docs/durability.md, "When there is no room": samples that were delivered within
// the time given stay until the next tier.
func (k *Keeper) tiers() []time.Duration {
	return []time.Duration{
		k.settle,         // a restarted server may ask for these again
		config.Unsettled, // a server that crashes now may lose these
		0,
	}
}

// evict deletes a slice in the order of docs/durability.md, "When there is no
// room": what costs least first. More is false when nothing is left to delete.
func (k *Keeper) evict(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	for _, free := range []func(context.Context, figures, time.Time) (more bool, err error){
		k.evictDelivered,   // tier by tier
		k.evictKeptFiles,   // their rows were salvaged
		k.forgetFirst,      // series without samples
		k.evictReceipts,    // of samples that are gone
		k.evictUndelivered, // in the order of store.DB.DropUndelivered
	} {
		if more, err := free(ctx, f, now); more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// evictDelivered deletes a slice of the present tier. More is false when there is
// nothing delivered to delete.
//
// A tier in which nothing is found is read completely, so a walk through all tiers
// is repeated only after something was delivered. While samples are delivered all
// the time, each walk may find less than a slice: after such a walk a slice of the
// undelivered samples goes as well.
func (k *Keeper) evictDelivered(ctx context.Context, _ figures, now time.Time) (more bool, err error) {
	ledger, _, err := k.db.Ledger(ctx)
	if err != nil {
		return false, err
	}
	if k.passDoneAt == ledger.Delivered || k.alsoUndelivered {
		k.alsoUndelivered = false
		return false, nil
	}
	tiers := k.tiers()
	if k.sizeSweep == (store.Sweep{}) {
		if k.tier == 0 {
			k.from = ledger.Delivered
		}
		if k.kept, err = k.deliveredWithin(ctx, now, tiers[k.tier]); err != nil {
			return false, err
		}
	}
	n, done, err := k.db.DeleteDelivered(ctx, &k.sizeSweep, math.MaxInt64, k.kept)
	k.deleted += n
	k.deletedInPass += n
	k.series.gone += n
	if done {
		k.sizeSweep = store.Sweep{}
		if k.tier++; k.tier == len(tiers) {
			k.tier, k.passDoneAt, k.alsoUndelivered, k.deletedInPass = 0, k.from, k.deletedInPass < store.SliceRows, 0
		}
	}
	return true, err
}

// evictKeptFiles deletes the damaged files that were kept, except the newest, if
// the filesystem is short of room.
func (k *Keeper) evictKeptFiles(context.Context, figures, time.Time) (more bool, err error) {
	if k.evicting != status.LostLowSpace {
		return false, nil
	}
	removed, err := k.TrimKept(1)
	return removed > 0, err
}

// evictReceipts deletes a slice of the receipts, except the newest.
func (k *Keeper) evictReceipts(ctx context.Context, _ figures, now time.Time) (more bool, err error) {
	n, err := k.db.TrimHistory(ctx, now.Add(-config.Unsettled).UnixMilli())
	return n > 0, err
}

// evictUndelivered deletes a slice of the undelivered samples and counts them as
// lost.
func (k *Keeper) evictUndelivered(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	n, err := k.db.DropUndelivered(ctx, k.evicting, now)
	k.series.gone += n
	k.series.tight = k.series.tight || n > 0
	first := k.lost == 0
	k.lost += n
	if err != nil || n == 0 || !first {
		return n > 0, err
	}
	ledger, _, err := k.db.Ledger(ctx)
	k.log.Warn("no room for all undelivered samples; the oldest of the lowest priority are deleted and counted as lost",
		"reason", k.evicting, "limit_bytes", f.limit, "pending", ledger.Pending)
	return true, err
}
