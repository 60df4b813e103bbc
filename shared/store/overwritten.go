package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrOverwritten is the fault of a file that another program wrote to while it was
// open, for example by copying a backup over it. Then the pages in the file and the
// pages in the caches of the connections belong to two databases.
var ErrOverwritten = errors.New("another program wrote to the database file while it was open")

// A stamp is the size and the time of a file after the last known write.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{} // a missing file is another fault
	}
	return stamp{info.Size(), info.ModTime()}
}

// WatchWrites makes it a fault from now on if the file changes while db runs no
// checkpoint: in WAL mode nothing else writes to it. The process that runs the
// checkpoints calls it after each opening.
func (db *DB) WatchWrites() {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written = stampOf(g.path)
}

// ownWrites notes that a checkpoint of this process begins or ends.
func (g *guard) ownWrites(begin bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = begin
	if !begin && g.written != (stamp{}) {
		g.written = stampOf(g.path)
	}
}

// overwritten fails if another program wrote to the file; Fault says so from then on.
func (g *guard) overwritten() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing || g.written == (stamp{}) {
		return nil
	}
	if now := stampOf(g.path); now != g.written && now != (stamp{}) {
		g.suspect = ErrOverwritten
		return ErrOverwritten
	}
	return nil
}

// CheckContents fails if the file has changed since its ledger was last: it runs the
// full check and counts the undelivered samples.
func (db *DB) CheckContents(ctx context.Context, last Ledger) error {
	if err := db.CheckWhole(ctx); err != nil {
		return err
	}
	now, _, err := db.Ledger(ctx)
	if err != nil {
		return err
	}
	var pending, held int64
	err = db.readTx(ctx, func(tx *sql.Tx) error {
		const count = "SELECT count(*) FILTER (WHERE uploaded = 0), count(*) FILTER (WHERE uploaded = 3) FROM samples"
		return tx.QueryRowContext(ctx, count).Scan(&pending, &held)
	})
	switch {
	case err != nil:
		return fmt.Errorf("count the samples: %w", err)
	case now.Captured < last.Captured:
		return fmt.Errorf("%w: %d samples had been captured, it has %d", ErrDamaged, last.Captured, now.Captured)
	case pending != now.Pending || held != now.Held:
		return fmt.Errorf("%w: it has %d pending and %d held samples, but its ledger says %d and %d",
			ErrDamaged, pending, held, now.Pending, now.Held)
	}
	return nil
}
