package store

import (
	"context"
	"errors"
	"fmt"
)

// A Halted database allows no transaction, but its connections are still open: they
// reach its file even if it was deleted or replaced.
type Halted struct{ db *DB }

// Halt waits for the running transactions and allows no other. Release ends it; the
// database stays detached.
func (db *DB) Halt(why error) Halted {
	db.guard.detach(fmt.Errorf("%w (%w)", errReopening, why))
	db.swap.Lock()
	return Halted{db}
}

// Release lets the transactions that wait continue; they fail, because the database
// is detached.
func (h Halted) Release() { h.db.swap.Unlock() }

// Ledger reads the ledger of the open file.
func (h Halted) Ledger(ctx context.Context) (Ledger, error) {
	l, _, err := (&Reader{read: h.db.write}).Ledger(ctx)
	return l, err
}

// CopyTo writes the open file, its WAL included, to a new file.
func (h Halted) CopyTo(ctx context.Context, path string) error {
	if _, err := h.db.write.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("write the open database to %s: %w", path, err)
	}
	return nil
}

// ErrWALInUse means that a reader keeps the WAL from being emptied.
var ErrWALInUse = errors.New("a reader keeps the write-ahead log from being emptied into its database")

// Checkpoint moves all of the open WAL into the open file.
func (h Halted) Checkpoint(ctx context.Context) (err error) {
	conn, err := h.db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := setBusyTimeout(ctx, conn, checkpointWait); err != nil {
		return err
	}
	var busy, frames, moved int
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("empty the write-ahead log into its database: %w", err)
	}
	if busy != 0 {
		return ErrWALInUse
	}
	return nil
}
