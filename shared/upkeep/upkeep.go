// Package upkeep keeps the database fit for years in the field: it moves the
// WAL into the database, deletes samples that are old or exceed the size limits,
// and reports the state of the storage.
//
// Only the collector runs it, so only one process deletes and runs checkpoints.
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
	// idleEvery is how soon Step has to be called again when nothing is due. The
	// collector also calls it after each third round.
	idleEvery = time.Minute
	// openEvery is how soon Step has to be called again while the database has a
	// fault.
	openEvery = 200 * time.Millisecond
	// reportEvery is how often the storage's samples and its status are written. A
	// change of the status is written at once.
	reportEvery = time.Minute
	// figuresEvery is how often samples of the file sizes are written: they change
	// slowly, and self-metrics have to stay below a tenth of all samples.
	figuresEvery = 3 * time.Minute
	// early is how much sooner than due something is done: steps run in the wake-up of
	// rounds, and the next one may be half a minute away.
	early = 3 * time.Second
)

// A Keeper runs the upkeep of one database. It is owned by one goroutine.
type Keeper struct {
	// TrimKept deletes the oldest of the kept damaged files until keep are left.
	TrimKept func(keep int) (removed int, err error)

	db        *store.DB
	cfg       config.Storage
	settle    time.Duration
	bootID    string
	log       *slog.Logger
	component *status.Component

	checkpoints
	room
	bySize
	byAge
	series bySeries

	reported
}

// reported is what was written last.
type reported struct {
	reportedAt time.Time // the samples
	figures    selfmetrics.Schedule
	summary    string // of the status row
}

// New prepares the upkeep of db.
func New(db *store.DB, c config.Config, d status.Daemon, log *slog.Logger) *Keeper {
	return &Keeper{
		TrimKept: func(int) (int, error) { return 0, nil },
		db:       db, cfg: c.Storage, settle: c.Remote.Settle, bootID: d.BootID, log: log,
		component:   status.NewComponent(d, status.StorageRow, reportEvery),
		checkpoints: checkpoints{due: time.Now().Add(c.Storage.WALCheckpointInterval)},
		bySize:      bySize{passDoneAt: -1},
		reported:    reported{figures: selfmetrics.Schedule{Every: figuresEvery}},
	}
}

// Step does at most one slice of what is due, and returns when to call it again.
// While the database has a fault it does nothing.
func (k *Keeper) Step(ctx context.Context) (next time.Duration, err error) {
	if fault := k.db.Fault(); fault != nil && !errors.Is(fault, store.ErrClosed) {
		return openEvery, nil
	}
	begun := time.Now()
	more, err := k.work(ctx, begun)
	next = idleEvery
	if more {
		// Deleting takes at most a fifth of the time; the rest is for collecting.
		next = max(4*time.Since(begun), 20*time.Millisecond)
	}
	return next, k.note(ctx, err)
}

func (k *Keeper) work(ctx context.Context, now time.Time) (more bool, err error) {
	f, err := k.measure(ctx)
	if err != nil {
		return false, err
	}
	k.free, k.short = f.free, f.short()
	if err := k.limitSeries(ctx, f, now); err != nil {
		return false, err
	}
	if f.sizes.WAL > f.walLimit-f.walLimit/4 && k.busySince.IsZero() || !now.Before(k.due.Add(-early)) {
		if err := k.checkpoint(ctx, f.walKept); err != nil {
			return false, err
		}
	}
	if !k.busySince.IsZero() && f.sizes.WAL > f.walLimit {
		// Deleting would make the WAL longer, and free nothing.
		return false, nil
	}
	return k.retain(ctx, f, now)
}

// note writes the status row, once a minute with the samples, and returns the error
// that it was given. If the database has a fault, errors of writing the row add
// nothing to that error.
func (k *Keeper) note(ctx context.Context, fault error) error {
	now, err := store.Now()
	if err != nil {
		return errors.Join(fault, err)
	}
	if fault != nil {
		k.component.Fail(now, fault, 1)
	} else {
		k.component.Succeed(now, 1)
	}
	summary := fmt.Sprint(fault != nil, k.busySince.IsZero(), k.evicting, k.short > 0, k.series.fullSince.IsZero())
	due := time.Since(k.reportedAt) >= reportEvery-early
	if summary == k.summary && !due {
		return fault
	}
	k.component.SetDetail(k.detail())
	u := store.Update{Status: []status.Row{k.component.Row()}}
	if due {
		samples, err := k.samples(ctx, now.Wall.UnixMilli())
		if err != nil {
			return k.also(fault, err)
		}
		u.Groups = []store.Group{{Priority: status.SelfPriority, Self: true, Samples: samples}}
		k.reportedAt = time.Now()
	}
	if _, err := k.db.Record(ctx, u); err != nil {
		return k.also(fault, err)
	}
	k.summary = summary
	return fault
}

func (k *Keeper) also(fault, err error) error {
	if fault != nil && k.db.Fault() != nil {
		return fault
	}
	return errors.Join(fault, err)
}

// detail is the detail of the status row.
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

// Stop writes that the upkeep ended on purpose, and empties the WAL.
func (k *Keeper) Stop(ctx context.Context) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	k.component.Stop(now)
	if _, err := k.db.Record(ctx, store.Update{Status: []status.Row{k.component.Row()}}); err != nil {
		return err
	}
	c, err := k.checkpointOnce(ctx, 0)
	switch {
	case err != nil:
		return err
	case c.Busy:
		k.log.Warn("a reader or writer prevented the WAL from being emptied; the next start continues with it",
			"frames", c.Frames, "moved", c.Moved)
	default:
		k.logDone(c)
	}
	return nil
}
