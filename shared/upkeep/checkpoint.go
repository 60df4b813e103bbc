package upkeep

import (
	"context"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// busyRetry is the wait after a checkpoint that could not finish.
const busyRetry = time.Minute

// checkpoints is the state of the checkpoints.
type checkpoints struct {
	due       time.Time // of the next
	busySince time.Time // zero: the last one finished
	busyTries int       // that could not finish since then
	last      store.Checkpoint
}

// checkpoint empties the WAL, whose file may keep a length of up to keep bytes, and
// sets when the next one is due. If readers or writers prevent it, that is logged
// and is no error: it ends when they end.
func (k *Keeper) checkpoint(ctx context.Context, keep int64) error {
	c, err := k.checkpointOnce(ctx, keep)
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
		k.busyTries++
		k.log.Warn("a reader or writer prevents the checkpoint from finishing; the WAL grows until it ends; will try again",
			"busy_for", now.Sub(k.busySince).Round(time.Second).String(), "tries", k.busyTries, "frames", c.Frames, "moved", c.Moved,
			"retry_in", busyRetry.String())
		return nil
	}
	k.due = now.Add(k.cfg.WALCheckpointInterval)
	if !k.busySince.IsZero() {
		k.log.Info("the checkpoint finished; the WAL can be emptied again",
			"busy_for", now.Sub(k.busySince).Round(time.Second).String(), "tries", k.busyTries)
		k.busySince, k.busyTries = time.Time{}, 0
	}
	k.logDone(c)
	return nil
}

// checkpointOnce runs a checkpoint and logs its result at debug level.
func (k *Keeper) checkpointOnce(ctx context.Context, keep int64) (store.Checkpoint, error) {
	c, err := k.db.Checkpoint(ctx, keep)
	if err == nil {
		k.log.Debug("checkpoint", "busy", c.Busy, "log_frames", c.Frames, "frames_checkpointed", c.Moved,
			"old_size_bytes", c.Before, "new_size_bytes", c.After, "bytes_reclaimed", c.Reclaimed, "duration_ms", c.Duration.Milliseconds())
	}
	return c, err
}

func (k *Keeper) logDone(c store.Checkpoint) {
	k.log.Info("checkpoint done", "frames", c.Frames, "bytes_reclaimed", c.Reclaimed, "duration_ms", c.Duration.Milliseconds())
}
