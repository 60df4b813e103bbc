package store

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/mattn/go-sqlite3"
)

// A guard allows or denies the use of a database's file. It denies every
// connection while the DB is detached, and knows which file is open and which
// errors pointed to a fault of it.
type guard struct {
	path     string
	mu       sync.Mutex
	detached error // why no connection is allowed; nil: they are
	suspect  error // the last error that points to a fault of the file; nil: none
	damaged  int   // errors that reported damage since the file was opened
	full     bool  // a transaction failed because the disk is full
	file     os.FileInfo
	wal, shm os.FileInfo
	walBytes int64  // length of the WAL after the last transaction
	ledger   Ledger // after the last Record
	written  stamp  // of the file after our last write into it; zero: not watched
	writing  bool   // a checkpoint of this process is under way
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

// check fails if no connection may be used.
func (g *guard) check() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.detached
}

// allow fails if no new connection to path may be made. If another file was put in
// place of the open one, the old file's WAL is still at the path: a new connection
// would read it, and write it into the new file when it is closed.
func (g *guard) allow(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() == 0 && hasBytes(path+"-wal") {
		return fmt.Errorf("%w, and its write-ahead log is not empty", ErrEmptied) // SQLite would delete the WAL
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
	_, err := sameFile(g.path, file, ErrDeleted, ErrReplaced)
	return err
}

func (g *guard) detach(why error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !errors.Is(g.detached, ErrClosed) { // a closed one stays closed
		g.detached = why
	}
}

// attach allows connections to the file.
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
	g.walBytes, g.ledger, g.written = wal.Size(), Ledger{}, stamp{}
}

// observe notes an error that points to a fault of the file rather than of the
// statement, and returns it.
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
	// After a failed fsync it is unknown what is on the disk; a file that was
	// read-only when it was opened stays read-only for the connection.
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

// Observe notes an error that points to a fault of the file, for Fault, and
// returns it.
func (db *DB) Observe(err error) error { return db.guard.observe(err) }

// DamagedTwice returns the last error that reported damage if there was another
// before it: the file was checked after the first and opened again. Check does not
// read everything and can miss the damage.
func (db *DB) DamagedTwice() error {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.damaged < 2 {
		return nil
	}
	return g.suspect
}

// ResetFaults forgets the errors that pointed to a fault: the file was replaced, or
// the full check passed.
func (db *DB) ResetFaults() {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.damaged, g.suspect = 0, nil
}

// RanFull says whether a transaction failed because the disk is full since the last
// call of RanFull.
func (db *DB) RanFull() bool {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	full := g.full
	g.full = false
	return full
}

// Opened says whether the database has been open at least once. Until then its
// errors need no log record: the process that opens it logs why it cannot.
func (db *DB) Opened() bool {
	file, _ := db.Files()
	return file != nil
}

// Files returns the database file and its WAL that are open, or were open last;
// nil: none was, or ForgetWAL was called.
func (db *DB) Files() (file, wal os.FileInfo) {
	g := db.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.file, g.wal
}

// ForgetWAL forgets which WAL was open. A new file may get the inode number of one
// that was deleted.
func (db *DB) ForgetWAL() {
	db.guard.mu.Lock()
	defer db.guard.mu.Unlock()
	db.guard.wal = nil
}
