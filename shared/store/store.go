// Package store reads and writes the database: all SQL is here, except that of
// shared/salvage, which copies rows out of damaged files.
//
// Three processes share one SQLite file in WAL mode. Writers use Open, or New and
// Attach; readers use OpenReader. Each public method is one transaction.
// Transactions are short; those that write take the write lock at their start.
// Every change of the samples changes the ledger in the same transaction:
//
//	Record                        writes samples, series, events, status, counters, losses
//	Acknowledge                   marks samples as delivered, writes a receipt and an Update
//	Reject, Requeue               marks samples as rejected with a reason, or as pending again
//	RecordClock                   writes whether the clock is trusted; releases held samples
//	StartSession, EndSession      writes the session
//	DropStatus                    deletes status rows
//	DeleteDelivered               deletes delivered samples, the oldest first
//	DropUndelivered, DropRejected deletes other samples and counts them as lost
//	DeleteIdle                    deletes series without samples, after a Survey
//	TrimHistory                   deletes old receipts and sessions
//	ReturnPages, Checkpoint       changes the files, but no row
//
// Start at Record (samples.go), Backlog and NewestSince (queue.go), Acknowledge
// (acknowledge.go), and Snapshot (snapshot.go), which metrics-health reads.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	busyTimeout = 5 * time.Second
	// busyPoll is how often a transaction that waits for the write lock tries to
	// get it. SQLite itself sleeps for up to 100 ms between two tries, and a writer
	// that never pauses can then hold the lock at each of them.
	busyPoll = time.Millisecond
	// openTimeout bounds the retries of Open: switching a new file to WAL mode does
	// not wait for busy_timeout, so daemons that start together get SQLITE_BUSY.
	openTimeout = 10 * time.Second
	// PageSize is the page size of new files. A commit writes whole pages to the
	// WAL, and each of ours changes a few: with pages of 1 KiB 425 bytes were written
	// to the device for each sample, with pages of 4 KiB 780.
	PageSize = 1024
	// minSQLite is the first version without the WAL-reset bug (sqlite.org/wal.html,
	// "The WAL-Reset Bug"): with two writers and a checkpoint, as here, a committed
	// transaction could be lost.
	minSQLite = 3051003
)

// Options are the settings of a writer.
type Options struct {
	Device      string // device_id of its samples
	Synchronous string // FULL or NORMAL; see sqlite.org/pragma.html#pragma_synchronous
	Owner       bool   // it is the process that deletes series: the collector
}

// A Reader reads the database. It never writes, migrates or checkpoints.
type Reader struct {
	path   string
	read   *sql.DB
	series *seriesCache
	guard  *guard // nil: there are no checks
}

// A DB reads and writes the database. Several goroutines may use it; their write
// transactions wait for each other.
type DB struct {
	*Reader
	write   *sql.DB
	inserts [len(insertSizes)]*sql.Stmt
	opts    Options

	opening atomic.Int64 // how many files were attached
	swap    sync.RWMutex // read-locked by each transaction, locked to attach another file
	session int64        // sessions.num of the running session; 0: none

	attaching sync.Mutex // guards begun
	begun     *Session   // continues in the next file that is attached; nil: none
}

// Open opens the database at path for reading and writing. It creates a missing
// file and its directory, migrates an older schema, and fails for a newer one
// (ErrNewerSchema). Several processes may call it at the same time. It repairs
// nothing: the daemons open the database through package repair.
func Open(ctx context.Context, path string, opts Options) (*DB, error) {
	db := New(path, opts)
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(db.path), 0o750); err != nil {
		return fmt.Errorf("create the database directory: %w", err)
	}
	if err := CreateEmpty(db.path); err != nil {
		return err
	}
	one, err := OpenFile(ctx, db.path, db.opts)
	if err != nil {
		return err
	}
	if err := one.Close(); err != nil {
		return err
	}
	return db.Attach(ctx)
}

// New returns the database at path, not yet open: all methods fail until Attach.
func New(path string, opts Options) *DB {
	if opts.Synchronous == "" {
		opts.Synchronous = "FULL"
	}
	return newPools(path, opts, &guard{path: path, detached: errNotOpen})
}

// CreateEmpty creates an empty file if there is none. Its mode does not depend on
// the umask, because readers are in the group; SQLite gives the same mode to the
// files beside it.
func CreateEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil // another daemon was faster
	}
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return errors.Join(f.Chmod(0o640), f.Close())
}

// OpenFile opens the file at path without a guard, migrates it, and checks that it
// can be written. It waits for other processes that do the same.
func OpenFile(ctx context.Context, path string, opts Options) (db *DB, err error) {
	if err := checkVersion(); err != nil {
		return nil, err
	}
	err = retryBusy(ctx, openTimeout, func() error {
		db, err = openFile(ctx, path, opts)
		return err
	})
	return db, err
}

func openFile(ctx context.Context, path string, opts Options) (*DB, error) {
	if opts.Synchronous == "" {
		opts.Synchronous = "FULL"
	}
	db := newPools(path, opts, nil)
	err := db.checkSettings(ctx)
	if err == nil {
		err = db.migrate(ctx)
	}
	if err == nil {
		// Opening succeeds also if the file cannot be written.
		err = db.tx(ctx, func(*sql.Tx) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes the reader's connections.
func (r *Reader) Close() error { return r.read.Close() }

// Close closes all connections. The WAL stays in place, so that a reader without
// write permission still sees every row.
func (db *DB) Close() error {
	db.guard.detach(ErrClosed)
	return errors.Join(db.write.Close(), db.Reader.Close())
}

// Options returns the options of New or Open.
func (db *DB) Options() Options { return db.opts }

// Path returns the path of the database file.
func (r *Reader) Path() string { return r.path }

// Create creates the tables of the present schema in the file at path and closes
// it. It creates a missing file, migrates an older schema, and fails for a newer
// one (ErrNewerSchema).
func Create(ctx context.Context, path string, opts Options) error {
	if err := CreateEmpty(path); err != nil {
		return err
	}
	db, err := openFile(ctx, path, opts)
	if err != nil {
		return err
	}
	return db.Close()
}
