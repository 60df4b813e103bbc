// Package upkeep keeps the database fit for years in the field: it moves the
// write-ahead log into the database and says how the storage is doing.
//
// Only the collector runs it, so there is one checkpointer. Start at Keeper's
// Step, which does once what is due now.
package upkeep

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// Interval is how often Step is meant to run.
	Interval = 10 * time.Second
	// sayEvery is how often the storage's figures become samples.
	sayEvery = time.Minute
	// busyRetry is the wait after a checkpoint that others kept from finishing.
	busyRetry = time.Minute
	// selfPriority is that of samples about ourselves: they go last.
	selfPriority = 3
)

// A Keeper looks after one database. It is owned by one goroutine.
type Keeper struct {
	db   *store.DB
	cfg  config.Storage
	log  *slog.Logger
	part *store.Part

	due       time.Time // of the next checkpoint
	busySince time.Time // zero: the last checkpoint finished
	last      store.Checkpoint
	said      time.Time
}

// New prepares the upkeep of db.
func New(db *store.DB, cfg config.Storage, d store.Daemon, log *slog.Logger) *Keeper {
	return &Keeper{
		db: db, cfg: cfg, log: log,
		part: store.NewPart(d, "storage", Interval),
		due:  time.Now().Add(cfg.WALCheckpointInterval),
	}
}

// Step does what is due now.
func (k *Keeper) Step(ctx context.Context) error {
	sizes, err := k.db.Sizes()
	if err != nil {
		return k.note(ctx, err)
	}
	now := time.Now()
	full := sizes.WAL > int64(k.cfg.WALCheckpointSizeMB)<<20 && k.busySince.IsZero()
	if full || !now.Before(k.due) {
		if err := k.Checkpoint(ctx); err != nil {
			return k.note(ctx, err)
		}
	}
	return k.note(ctx, nil)
}

// Checkpoint empties the write-ahead log and sets when to try again. That
// others kept it from finishing is reported here, once, and counted as long as
// it lasts.
func (k *Keeper) Checkpoint(ctx context.Context) error {
	c, err := k.db.Checkpoint(ctx)
	now := time.Now()
	if err != nil {
		k.due = now.Add(busyRetry)
		return err
	}
	k.last = c
	if c.Busy {
		k.due = now.Add(busyRetry)
		if k.busySince.IsZero() {
			k.busySince = now
		}
		k.log.Warn("checkpoint kept from finishing by a reader or writer; will try again",
			"busy_for", now.Sub(k.busySince).Round(time.Second).String(), "frames", c.Frames, "moved", c.Moved, "retry_in", busyRetry.String())
		return nil
	}
	k.due = now.Add(k.cfg.WALCheckpointInterval)
	if !k.busySince.IsZero() {
		k.log.Info("checkpoint finished again", "busy_for", now.Sub(k.busySince).Round(time.Second).String())
		k.busySince = time.Time{}
	}
	k.log.Info("checkpoint done", "frames", c.Frames, "bytes_reclaimed", c.Reclaimed, "duration_ms", c.Duration.Milliseconds())
	return nil
}

// note writes the status row and, once a minute, the samples, and gives back
// the error it was given.
func (k *Keeper) note(ctx context.Context, fault error) error {
	now := store.Moment{Wall: time.Now()}
	var err error
	if now.Boot, err = hostfs.BootTime(); err != nil {
		return fmt.Errorf("read the boot clock: %w", err)
	}
	if fault != nil {
		k.part.Fail(now, fault, 1)
	} else {
		k.part.Succeed(now, 1)
	}
	detail := map[string]any{}
	if !k.busySince.IsZero() {
		detail["checkpoint_busy_since_ms"] = k.busySince.UnixMilli()
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	k.part.SetDetail(string(text))
	if now.Wall.Sub(k.said) < sayEvery {
		return fault
	}
	k.said = now.Wall
	samples, err := k.samples(ctx, now.Wall.UnixMilli())
	if err != nil {
		return err
	}
	_, err = k.db.Record(ctx, store.Update{
		Groups: []store.Group{{Priority: selfPriority, Samples: samples}},
		Status: []store.Status{k.part.Status()},
	})
	if err != nil {
		return err
	}
	return fault
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
	all := []metric.Sample{
		{Name: "storage.database_size_bytes", Value: float64(sizes.Database)},
		{Name: "storage.wal_size_bytes", Value: float64(sizes.WAL)},
		{Name: "storage.metrics_pending_upload", Value: float64(ledger.Pending)},
		{Name: "storage.wal_checkpoint_duration_ms", Value: float64(k.last.Duration.Microseconds()) / 1000},
		{Name: "storage.wal_bytes_reclaimed", Value: float64(k.last.Reclaimed)},
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
	if err := k.Checkpoint(ctx); err != nil {
		return err
	}
	now := store.Moment{Wall: time.Now()}
	var err error
	if now.Boot, err = hostfs.BootTime(); err != nil {
		return fmt.Errorf("read the boot clock: %w", err)
	}
	k.part.Stop(now)
	_, err = k.db.Record(ctx, store.Update{Status: []store.Status{k.part.Status()}})
	return err
}
