// Package upkeep keeps the database fit for years in the field: it moves the
// WAL into the database, deletes samples that are old or exceed the size limits,
// and reports the state of the storage.
//
// Only the collector runs it, so there is one checkpointer and one that deletes.
// Start at Keeper's Step. Each step is short, because collecting uses the same
// connection.
package upkeep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/selfmetrics"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// lookEvery is how often Step looks at the files when nothing is due and nobody
	// calls it before: the collector does after each round.
	lookEvery = time.Minute
	// openEvery is how often Step looks whether the database can be used again.
	openEvery = 200 * time.Millisecond
	// sayEvery is how often the storage's figures become samples and its status
	// is written; a change of the status is written at once.
	sayEvery = time.Minute
	// figuresEvery is how often the files' figures become samples: they change
	// slowly, and what is said of ourselves stays below a tenth of all.
	figuresEvery = 3 * time.Minute
)

// A Keeper looks after one database. It is owned by one goroutine.
type Keeper struct {
	// TrimKept removes the oldest damaged files that are kept, down to keep of them.
	TrimKept func(keep int) (removed int, err error)

	db     *store.DB
	cfg    config.Storage
	settle time.Duration
	bootID string
	log    *slog.Logger
	part   *status.Component

	checkpoints
	room
	bySize
	byAge
	series bySeries

	told
}

// told is what the status and the samples said last.
type told struct {
	said    time.Time // when the status was written
	figures selfmetrics.Schedule
	mark    string // what it said, in short
}

// New prepares the upkeep of db.
func New(db *store.DB, c config.Config, d status.Daemon, log *slog.Logger) *Keeper {
	return &Keeper{
		TrimKept: func(int) (int, error) { return 0, nil },
		db:       db, cfg: c.Storage, settle: c.Remote.Settle, bootID: d.BootID, log: log,
		part:        status.NewComponent(d, status.StorageRow, sayEvery),
		checkpoints: checkpoints{due: time.Now().Add(c.Storage.WALCheckpointInterval)},
		bySize:      bySize{passDoneAt: -1},
		told:        told{figures: selfmetrics.Schedule{Every: figuresEvery}},
	}
}

// Step does what is due now, at most one slice of it, and returns when to come
// again. While the database cannot be relied on nothing is.
func (k *Keeper) Step(ctx context.Context) (next time.Duration, err error) {
	if fault := k.db.Fault(); fault != nil && !errors.Is(fault, store.ErrClosed) {
		return openEvery, nil
	}
	begun := time.Now()
	more, err := k.work(ctx, begun)
	next = lookEvery
	if more {
		// Deleting takes a fifth of the time at most; the rest is for collecting.
		next = max(4*time.Since(begun), 20*time.Millisecond)
	}
	return next, k.note(ctx, err)
}

func (k *Keeper) work(ctx context.Context, now time.Time) (more bool, err error) {
	f, err := k.look(ctx)
	if err != nil {
		return false, err
	}
	k.free, k.short = f.free, f.short()
	if err := k.limitSeries(ctx, f, now); err != nil {
		return false, err
	}
	if f.sizes.WAL > f.logLimit-f.logLimit/4 && k.busySince.IsZero() || !now.Before(k.due) {
		if err := k.checkpoint(ctx, f.logKept); err != nil {
			return false, err
		}
	}
	if !k.busySince.IsZero() && f.sizes.WAL > f.logLimit {
		// Deleting would make the log longer still, and free nothing.
		return false, nil
	}
	return k.retain(ctx, f, now)
}

// note writes the status row, once a minute with the samples, and gives back
// the error it was given. While the database can't be used that error says so
// already: what fails here for the same reason adds nothing to it.
func (k *Keeper) note(ctx context.Context, fault error) error {
	now, err := store.Now()
	if err != nil {
		return errors.Join(fault, err)
	}
	if fault != nil {
		k.part.Fail(now, fault, 1)
	} else {
		k.part.Succeed(now, 1)
	}
	mark := fmt.Sprint(fault != nil, k.busySince.IsZero(), k.evicting, k.short > 0, k.series.fullSince.IsZero())
	if mark == k.mark && time.Since(k.said) < sayEvery {
		return fault
	}
	k.part.SetDetail(k.detail())
	u := store.Update{Status: []status.Row{k.part.Row()}}
	if time.Since(k.said) >= sayEvery {
		samples, err := k.samples(ctx, now.Wall.UnixMilli())
		if err != nil {
			return k.also(fault, err)
		}
		u.Groups = []store.Group{{Priority: status.SelfPriority, Self: true, Samples: samples}}
		k.said = time.Now()
	}
	if _, err := k.db.Record(ctx, u); err != nil {
		return k.also(fault, err)
	}
	k.mark = mark
	return fault
}

func (k *Keeper) also(fault, err error) error {
	if fault != nil && k.db.Fault() != nil {
		return fault
	}
	return errors.Join(fault, err)
}

// detail is what only the keeper knows.
func (k *Keeper) detail() (d status.Storage) {
	if !k.busySince.IsZero() {
		d.CheckpointBusySinceMs, d.CheckpointBusyTries = k.busySince.UnixMilli(), k.busyTries
	}
	d.Evicting = k.evicting
	if k.short > 0 {
		d.FreeBytes, d.FreeBytesShort = k.free, k.short
	}
	d.Series = k.series.use.Count
	if !k.series.fullSince.IsZero() {
		d.SeriesLimit, d.SeriesFullSinceMs = k.series.limit.Count, k.series.fullSince.UnixMilli()
		if k.series.use.Count > 0 {
			d.SeriesLimit = min(d.SeriesLimit, k.series.use.Count*k.series.limit.Bytes/k.series.use.Bytes)
		}
	}
	return d
}

func (k *Keeper) samples(ctx context.Context, at int64) ([]metric.Sample, error) {
	sizes, err := k.db.Sizes()
	if err != nil {
		return nil, err
	}
	ledger, losses, err := k.db.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	all := []metric.Sample{{Name: "storage.metrics_pending_upload", Value: float64(ledger.Pending)}}
	if k.figures.Due(time.Now()) {
		all = append(all,
			metric.Sample{Name: "storage.database_size_bytes", Value: float64(sizes.Database)},
			metric.Sample{Name: "storage.wal_size_bytes", Value: float64(sizes.WAL)},
			metric.Sample{Name: "storage.wal_checkpoint_duration_ms", Value: float64(k.last.Duration.Microseconds()) / 1000},
			metric.Sample{Name: "storage.wal_bytes_reclaimed", Value: float64(k.last.Reclaimed)},
		)
	}
	for _, l := range losses {
		all = append(all, metric.Sample{Name: "storage.lost_total", Tags: metric.Tags("reason", l.Reason), Value: float64(l.Count)})
	}
	for i := range all {
		all[i].TimeMs, all[i].Value = at, metric.Round(all[i].Value)
	}
	return all, nil
}

// Stop empties the log a last time and writes that the storage's keeper ended
// on purpose.
func (k *Keeper) Stop(ctx context.Context) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	k.part.Stop(now)
	if _, err := k.db.Record(ctx, store.Update{Status: []status.Row{k.part.Row()}}); err != nil {
		return err
	}
	c, err := k.checkpointOnce(ctx, 0)
	switch {
	case err != nil:
		return err
	case c.Busy:
		k.log.Warn("a reader or writer prevented the WAL from being emptied; the next start continues with it", "frames", c.Frames, "moved", c.Moved)
	default:
		k.sayDone(c)
	}
	return nil
}
