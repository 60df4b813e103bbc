package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrOverwritten is the fault of a file into which something else wrote while it
// was open, such as a copy of a backup over it. Its pages and those that every
// connection remembers are then of two databases.
var ErrOverwritten = errors.New("something else wrote into the database file while it was open")

// A stamp is how a file looked after the last write that is known.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{} // that it is gone is another fault
	}
	return stamp{info.Size(), info.ModTime()}
}

// WatchWrites makes it a fault from now on that the file changes while db runs no
// checkpoint: in WAL mode nothing else writes into it. It is for the process that
// runs the checkpoints, after each opening.
func (db *DB) WatchWrites() {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written = stampOf(g.path)
}

// ownWrites says that a checkpoint begins or ends.
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

// overwritten fails if something else wrote into the file.
func (g *guard) overwritten() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing || g.written == (stamp{}) {
		return nil
	}
	if now := stampOf(g.path); now != g.written && now != (stamp{}) {
		return ErrOverwritten
	}
	return nil
}

// WALShrank says whether the WAL is shorter than after the last transaction.
func (db *DB) WALShrank() bool {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	return fileSize(g.path+"-wal") < g.walBytes
}

// CheckContents fails if the file is not what it was when its ledger was last: by
// a check of the whole, and a count of the samples that are not delivered.
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
		return tx.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE uploaded = 0), count(*) FILTER (WHERE uploaded = 3) FROM samples").Scan(&pending, &held)
	})
	switch {
	case err != nil:
		return fmt.Errorf("count the samples: %w", err)
	case now.Captured < last.Captured:
		return fmt.Errorf("%w: %d samples were captured, and it knows of %d", ErrDamaged, last.Captured, now.Captured)
	case pending != now.Pending || held != now.Held:
		return fmt.Errorf("%w: it holds %d pending and %d held samples, and its ledger says %d and %d", ErrDamaged, pending, held, now.Pending, now.Held)
	}
	return nil
}
