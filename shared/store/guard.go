package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"
)

// A guard stands between a DB and its file. It lets no connection through while
// the DB is detached, and remembers which file is open and what was found wrong
// with it since.
type guard struct {
	path     string
	mu       sync.Mutex
	detached error // why there are no connections; nil: there are
	suspect  error // an error after which the file must be looked at; nil: none
	damaged  int   // errors since the file was opened that spoke of damage
	full     bool  // a transaction failed because the disk is full
	file     os.FileInfo
	wal, shm os.FileInfo
	walBytes int64  // that the WAL had when it was looked at last
	ledger   Ledger // after the last update that was recorded
}

// Why a DB is detached, or has to be.
var (
	ErrClosed     = errors.New("the database is closed")
	ErrDeleted    = errors.New("the database file was deleted while it was open")
	ErrReplaced   = errors.New("another file was put in place of the database while it was open")
	ErrWALDeleted = errors.New("the write-ahead log was deleted or replaced while it was open")
	ErrSHMDeleted = errors.New("the index of the write-ahead log (-shm) was deleted or replaced while it was open")
	ErrWALCut     = fmt.Errorf("%w: the write-ahead log was cut short while it was open", ErrDamaged)
	ErrEmptied    = fmt.Errorf("%w: the file has 0 bytes", ErrDamaged)

	errNotOpen   = errors.New("the database is not open yet")
	errReopening = errors.New("the database is being opened again")
	errInUse     = errors.New("a connection to the previous database file is still in use")
)

// check says whether a connection may be used.
func (g *guard) check() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.detached
}

// allow says whether a connection to path may be made. In a file that was put in place
// of the open one it would read the old one's WAL, which is still at the path,
// and at its end write that into the new file.
func (g *guard) allow(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == 0 && hasBytes(path+"-wal") {
		return fmt.Errorf("%w, and its write-ahead log is not empty", ErrEmptied) // which SQLite would delete
	}
	if g == nil {
		return nil
	}
	g.mu.Lock()
	detached, file := g.detached, g.file
	g.mu.Unlock()
	if detached != nil {
		return detached
	}
	return sameFile(g.path, file, ErrDeleted, ErrReplaced)
}

func (g *guard) detach(why error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !errors.Is(g.detached, ErrClosed) { // that is for good
		g.detached = why
	}
}

// attach lets connections to the file through.
func (g *guard) attach(file, wal os.FileInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.detached, ErrClosed) {
		return
	}
	if g.file == nil || !os.SameFile(g.file, file) {
		g.damaged = 0
	}
	g.detached, g.suspect = nil, nil
	g.file, g.wal, g.shm = file, wal, nil
	g.walBytes, g.ledger = wal.Size(), Ledger{}
}

// observe keeps an error that says something about the file rather than about
// the request. It returns the error.
func (g *guard) observe(err error) error {
	if g == nil || err == nil {
		return err
	}
	damaged, full := FaultOf(err) == FaultDamaged, IsFull(err)
	var se sqlite3.Error
	if !damaged && !full && !errors.As(err, &se) {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.full = g.full || full
	switch se.Code {
	// After an error of fsync nobody knows what is on the disk; a file that was
	// read-only when it was opened stays so for the connection.
	case sqlite3.ErrIoErr, sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrProtocol, sqlite3.ErrPerm:
	default:
		if !damaged {
			return err
		}
	}
	g.suspect = err
	if damaged {
		g.damaged++
	}
	return err
}

// Observe keeps an error that says something about the file, for Fault. It
// returns the error.
func (db *DB) Observe(err error) error { return db.guard.observe(err) }

// DamagedTwice returns the last error that spoke of damage if there was another
// before it: met, opened again, and met again. A bounded check may miss it.
func (db *DB) DamagedTwice() error {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.damaged < 2 {
		return nil
	}
	return g.suspect
}

// ResetFaults forgets what was found wrong with a file that is no longer at the
// path, or that a check of the whole found good.
func (db *DB) ResetFaults() {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.damaged, g.suspect = 0, nil
}

// RanFull says whether a transaction failed since the last call because the
// disk is full.
func (db *DB) RanFull() bool {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	full := g.full
	g.full = false
	return full
}

// Opened says whether the database has ever been open. Until then nothing that
// it fails with is news: the process that opens it says why that takes so long.
func (db *DB) Opened() bool {
	file, _ := db.Files()
	return file != nil
}

// Files are the database and its WAL that were at the path when the database
// was opened last; nil: it never was, or ForgetWAL was called.
func (db *DB) Files() (file, wal os.FileInfo) {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.file, g.wal
}

// ForgetWAL forgets which WAL was open. What is made later may get the inode
// number of one that is gone.
func (db *DB) ForgetWAL() {
	db.guard.mu.Lock()
	defer db.guard.mu.Unlock()
	db.guard.wal = nil
}

// Fault says what keeps the database from being relied on, nil for nothing: it
// is detached, an error spoke of the file, or the path leads to another file
// than the one that is open. Into a deleted file everything can be written
// without an error, and is gone. It costs two stats, and never opens the file:
// closing a second descriptor would drop the locks that SQLite holds on it.
func (db *DB) Fault() error {
	g := db.guard
	g.mu.Lock()
	detached, suspect := g.detached, g.suspect
	g.mu.Unlock()
	if detached != nil {
		return detached
	}
	// First what explains the rest: a file that is gone leads to all kinds of
	// errors, and is rescued.
	if err := db.PathFault(); err != nil {
		return err
	}
	return suspect
}

// PathFault says whether the path leads to other files than those that are open,
// also while the database is detached.
func (db *DB) PathFault() error {
	g := db.guard
	g.mu.Lock()
	file, wal, shm := g.file, g.wal, g.shm
	g.mu.Unlock()
	if err := sameFile(g.path, file, ErrDeleted, ErrReplaced); err != nil {
		return err
	}
	if err := sameFile(g.path+"-wal", wal, ErrWALDeleted, ErrWALDeleted); err != nil {
		return err
	}
	// A process that opens the database now would make another index, with other
	// locks than ours.
	if shm == nil {
		return nil // it is just being opened
	}
	return sameFile(g.path+"-shm", shm, ErrSHMDeleted, ErrSHMDeleted)
}

// checkFiles fails if the files at the path are not those that are open, or were
// emptied: what is written into them then is lost, or destroys more. It comes
// before every transaction, on its connection.
func (db *DB) checkFiles(ctx context.Context, conn *sql.Conn) error {
	g := db.guard
	if g == nil {
		return nil
	}
	if err := db.PathFault(); err != nil {
		return err
	}
	g.mu.Lock()
	before := g.walBytes
	g.mu.Unlock()
	if fileSize(g.path) == 0 {
		return fmt.Errorf("%w while it was open", ErrEmptied)
	}
	if fileSize(g.path+"-wal") < before {
		if cut, err := walIsCut(ctx, conn, g.path); err != nil || cut {
			return errors.Join(err, cutError(cut))
		}
	}
	g.noteWAL()
	return nil
}

func cutError(cut bool) error {
	if cut {
		return ErrWALCut
	}
	return nil
}

// noteWAL remembers how long the WAL is: only a checkpoint makes it shorter.
func (g *guard) noteWAL() {
	if g == nil {
		return
	}
	size := fileSize(g.path + "-wal")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.walBytes = size
}

// walIsCut says whether the WAL is shorter than its index says.
func walIsCut(ctx context.Context, conn *sql.Conn, path string) (bool, error) {
	var pageSize int64
	if err := conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&pageSize); err != nil {
		return false, err
	}
	var busy, frames, again, moved int64
	for { // another process may write or empty it between the two
		if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &moved); err != nil {
			return false, err
		}
		size := fileSize(path + "-wal")
		if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &again, &moved); err != nil {
			return false, err
		}
		if frames == again {
			return frames > 0 && size < logHeader+frames*(frameHeader+pageSize), nil
		}
	}
}

// CheckFiles looks whether the files at the path are those that are open and
// have what was written into them, for Fault.
func (db *DB) CheckFiles(ctx context.Context) (err error) {
	if db.guard.check() != nil {
		return nil //nolint:nilerr // Fault says so
	}
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return db.guard.observe(db.checkFiles(ctx, conn))
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func hasBytes(path string) bool { return fileSize(path) > 0 }

// noteLedger remembers the ledger of an update that was recorded.
func (g *guard) noteLedger(l Ledger) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ledger = l
}

// LastLedger is the ledger after the last update that this process recorded.
func (db *DB) LastLedger() Ledger {
	db.guard.mu.Lock()
	defer db.guard.mu.Unlock()
	return db.guard.ledger
}

// Await waits while the database is being opened. It returns nil once it can be
// used, and what Fault says as soon as opening it has failed or ctx ends.
func (db *DB) Await(ctx context.Context) error {
	for {
		fault := db.Fault()
		failed := false
		if fault != nil {
			db.guard.mu.Lock()
			detached := db.guard.detached
			db.guard.mu.Unlock()
			failed = detached != nil && !errors.Is(detached, errNotOpen) && !errors.Is(detached, errReopening)
		}
		if fault == nil || failed {
			return fault
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the database is still being opened or repaired (%w)", fault)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func sameFile(path string, open os.FileInfo, gone, replaced error) error {
	at, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone
	case err != nil:
		return fmt.Errorf("look at the database: %w", err)
	case !os.SameFile(at, open):
		return replaced
	}
	return nil
}

const (
	writers = 1 // connections
	readers = 2
)

// SetFault detaches the database for the reason given, which every method then
// returns. Open connections stay as they are.
func (db *DB) SetFault(why error) { db.guard.detach(why) }

// Detach closes every connection and lets no new one through. Transactions that
// run are waited for.
func (db *DB) Detach(ctx context.Context, why error) error {
	db.guard.detach(fmt.Errorf("%w (%w)", errReopening, why))
	for _, pool := range []*sql.DB{db.write, db.read} {
		pool.SetMaxIdleConns(0)
	}
	patience := time.NewTimer(openTimeout)
	defer patience.Stop()
	for db.write.Stats().OpenConnections+db.read.Stats().OpenConnections > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return errInUse
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Opening tells files that were attached one after another apart.
func (db *DB) Opening() int64 { return db.opening.Load() }

// Attach lets connections to the file that is at the path through, and goes on
// with the session in it. The file has the present schema: see OpenFile.
func (db *DB) Attach(ctx context.Context) error {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	session, err := db.resumeAt(ctx, db.path)
	if err != nil {
		return err
	}
	file, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	wal, err := os.Stat(db.path + "-wal")
	if err != nil {
		return err
	}
	db.swap.Lock() // no transaction sees the session of one file and the tables of another
	defer db.swap.Unlock()
	db.series.forget()
	db.opening.Add(1)
	db.session = session
	db.write.SetMaxIdleConns(writers)
	db.read.SetMaxIdleConns(readers)
	db.guard.attach(file, wal)
	if db.inserts[0] == nil {
		err = db.prepareInserts(ctx)
	} else {
		err = db.write.PingContext(ctx) // a deleted file is rescued through what is open
	}
	if err == nil {
		err = db.guard.attachSHM()
	}
	if err != nil {
		db.guard.detach(err)
	}
	return err
}

// attachSHM remembers which index of the WAL the connections use.
func (g *guard) attachSHM() error {
	shm, err := os.Stat(g.path + "-shm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted already; the next time it is opened there is one
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shm = shm
	return nil
}

// resumeAt goes on with the session in the file at path; 0: there is none.
func (db *DB) resumeAt(ctx context.Context, path string) (num int64, err error) {
	if db.begun == nil {
		return 0, nil
	}
	one, err := OpenFile(ctx, path, db.opts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	return one.resume(ctx, *db.begun)
}
