// Package store is the database as it should be: its SQL is here, and a second
// place is only shared/salvage, which takes damaged files apart.
//
// Three processes share one SQLite file in WAL mode. The writers use New and
// Attach, or Open; readers use OpenReader. A public method is one use and one
// transaction; transactions are short, those that write begin immediate, and none
// is held over anything slow. What each writes, always with the ledger that
// follows from it:
//
//	Record             samples, series, status, counters, losses
//	Acknowledge        samples delivered, a receipt, and an Update
//	Reject, Requeue    samples rejected and why, and back
//	RecordClock        whether the clock is trusted; held samples released
//	StartSession, EndSession, DropStatus
//	DeleteDelivered    delivered samples, the oldest first
//	DropUndelivered, DropRejected   the others, counted as lost
//	DeleteIdle         series without samples, after a Survey
//	TrimHistory        receipts and sessions
//	ReturnPages, Checkpoint         nothing that a reader sees
//
// Start at Record (samples.go), Backlog and NewestSince (queue.go), Acknowledge,
// and Snapshot, which health reads.
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
	// busyPoll is how often a transaction that waits for another writer's asks
	// for the lock. SQLite's own waiting sleeps for up to 100 ms at a time, and a
	// writer without pause can keep a sleeper out for a second.
	busyPoll = time.Millisecond
	// openTimeout bounds the retries of Open: turning a new file to WAL does
	// not wait for busy_timeout, so daemons that start together collide.
	openTimeout = 10 * time.Second
	// PageSize holds for new files. A commit writes whole pages to the log and
	// ours touch a handful: 1 KiB pages were measured to write 425 bytes to the
	// device for each sample where 4 KiB pages write 780.
	PageSize = 1024
	// minSQLite has the fix of the WAL-reset bug (sqlite.org/wal.html, "The
	// WAL-Reset Bug"): one process writing, another marking and a checkpoint on
	// a timer, as here, could lose a committed transaction.
	minSQLite = 3051003
)

// Options are what a writer says when it opens the database.
type Options struct {
	Device      string // device_id of the samples that are recorded
	Synchronous string // FULL or NORMAL; see sqlite.org/pragma.html#pragma_synchronous
	Owner       bool   // the one process that deletes series: the collector
}

// A Reader reads the database. It never writes, migrates or checkpoints.
type Reader struct {
	path   string
	read   *sql.DB
	series *seriesCache
	guard  *guard // nil: always open
}

// A DB reads and writes the database. Its methods may be called from several
// goroutines; writes wait for each other.
type DB struct {
	*Reader
	write   *sql.DB
	inserts [len(insertSizes)]*sql.Stmt
	opts    Options

	opening atomic.Int64 // counts the files that were attached
	swap    sync.RWMutex // every transaction reads it, what puts another file in place writes it
	session int64        // sessions.num of the running session, 0 for none

	attaching sync.Mutex // guards begun
	begun     *Session   // to go on with in another file; nil: none is
}

// Open opens the database at path for reading and writing. A missing file and
// its directory are created, an older schema is brought up to date, a newer one
// is refused (ErrNewerSchema). Several processes may do this at once. It repairs
// nothing: the daemons open through package repair.
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

// New is the database at path before it is open: every method fails until
// Attach.
func New(path string, opts Options) *DB {
	if opts.Synchronous == "" {
		opts.Synchronous = "FULL"
	}
	return newPools(path, opts, &guard{path: path, detached: errNotOpen})
}

// CreateEmpty makes an empty file, if there is none, of the mode that all of the
// database's files then get, whatever the umask: readers are in the group.
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

// OpenFile opens what is at the path past any guard, brings its schema up to
// date, and sees that it can be written. It waits for other processes that do
// the same.
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
		// A file that cannot be written can still be opened.
		err = db.tx(ctx, func(*sql.Tx) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes the reader's connections.
func (r *Reader) Close() error { return r.read.Close() }

// Close closes all connections. The write-ahead log stays in place, so that a
// reader without write permission still sees every row.
func (db *DB) Close() error {
	db.guard.detach(ErrClosed)
	return errors.Join(db.write.Close(), db.Reader.Close())
}

// Options are those that the database was made with.
func (db *DB) Options() Options { return db.opts }

// Path is the path of the database file.
func (r *Reader) Path() string { return r.path }

// Create makes the tables of the present schema in the file at path and closes
// it. A missing file is created; one of an earlier schema is brought up to date;
// a newer one is refused (ErrNewerSchema).
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
