package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// tx runs fn in one immediate transaction.
func (db *DB) tx(ctx context.Context, fn func(*sql.Tx) error) (err error) {
	if err := db.guard.check(); err != nil {
		return err // without waiting for a rescue, which may take minutes
	}
	db.swap.RLock()
	defer db.swap.RUnlock()
	defer func() { err = db.guard.observe(err) }()
	// Check again: a caller that waited for the lock may get a connection to a file
	// that is being replaced, and what it wrote there would be lost.
	if err := db.guard.check(); err != nil {
		return err
	}
	if err := CheckFreeSpace(db.path); err != nil {
		return err
	}
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := db.checkFiles(ctx, conn); err != nil {
		return err
	}
	tx, err := begin(ctx, conn)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(tx); err != nil {
		if rb := tx.Rollback(); rb != nil && !errors.Is(rb, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("roll back: %w", rb))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	db.guard.noteCommit()
	return nil
}

// begin begins an immediate transaction. It waits for the write lock for at most
// busyTimeout.
func begin(ctx context.Context, conn *sql.Conn) (tx *sql.Tx, err error) {
	if err := setBusyTimeout(ctx, conn, busyPoll); err != nil {
		return nil, err
	}
	begun := time.Now()
	tx, err = conn.BeginTx(ctx, nil)
	for isBusy(err) && ctx.Err() == nil && time.Since(begun) < busyTimeout {
		tx, err = conn.BeginTx(ctx, nil) // SQLite sleeps for busyPoll
	}
	if reset := setBusyTimeout(context.WithoutCancel(ctx), conn, busyTimeout); reset != nil {
		err = errors.Join(err, reset)
		if tx != nil {
			err = errors.Join(err, tx.Rollback())
		}
		return nil, err
	}
	return tx, err
}

// retryBusy calls fn until it does not fail with SQLITE_BUSY or SQLITE_LOCKED,
// for at most the given time.
func retryBusy(ctx context.Context, timeout time.Duration, fn func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := fn()
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leastSpace is the free space below which nothing is written. SQLite maps the
// index of the WAL (-shm) into memory; on a filesystem with blocks smaller than
// 4 KiB a page of it can be without a block, and writing to it ends the process
// with SIGBUS: seen on ext4 with blocks of 1 KiB and 12 to 36 KiB free.
const leastSpace = 128 << 10

// CheckFreeSpace fails when the filesystem of path has less than leastSpace.
func CheckFreeSpace(path string) error {
	free, err := hostfs.FreeBytes(filepath.Dir(path))
	if err != nil {
		return nil //nolint:nilerr // writing fails with a better error
	}
	if free < leastSpace {
		return fmt.Errorf("only %d KiB are free beside the database: %w", free>>10, syscall.ENOSPC)
	}
	return nil
}
