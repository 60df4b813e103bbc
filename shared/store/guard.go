package store

import (
	"errors"
	"fmt"
	"os"
	"sync"

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
