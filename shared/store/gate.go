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

// A gate stands between a DB and its file. It lets no connection through while
// the file is looked after, and remembers which file is open and what was found
// wrong with it since.
type gate struct {
	path    string
	mu      sync.Mutex
	closed  error // why there are no connections; nil: there are
	suspect error // an error after which the file must be looked at
	damaged int   // errors since the file was opened that spoke of damage
	file    os.FileInfo
	log     os.FileInfo // of -wal
}

var (
	errNotOpen  = errors.New("the database is not open yet")
	errClosed   = errors.New("the database is closed")
	errMending  = errors.New("the database is being opened again")
	errGone     = errors.New("the database file was deleted while it was open")
	errReplaced = errors.New("another file was put in place of the database while it was open")
	errLogGone  = errors.New("the write-ahead log was deleted or replaced while it was open")
	errInUse    = errors.New("a connection to the old file does not end")
)

// pass says whether a connection may be used.
func (g *gate) pass() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// admits says whether a connection may be made. In a file that was put in place
// of the open one it would read the old one's log, which is still at the path,
// and at its end write that into the new file.
func (g *gate) admits() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	closed, file := g.closed, g.file
	g.mu.Unlock()
	if closed != nil {
		return closed
	}
	return sameFile(g.path, file, errGone, errReplaced)
}

func (g *gate) close(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !errors.Is(g.closed, errClosed) { // that is for good
		g.closed = why
	}
}

// open lets connections to the file through.
func (g *gate) open(file, log os.FileInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.closed, errClosed) {
		return
	}
	if g.file == nil || !os.SameFile(g.file, file) {
		g.damaged = 0
	}
	g.closed, g.suspect, g.file, g.log = nil, nil, file, log
}

// notice keeps an error that says something about the file rather than about
// the request. It returns the error.
func (g *gate) notice(err error) error {
	if g == nil || err == nil {
		return err
	}
	damaged := isDamage(err)
	var se sqlite3.Error
	if !damaged && !errors.As(err, &se) {
		return err
	}
	switch se.Code {
	// After an error of fsync nobody knows what is on the disk; a file that was
	// read-only when it was opened stays so for the connection.
	case sqlite3.ErrIoErr, sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrProtocol, sqlite3.ErrPerm:
	default:
		if !damaged {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspect = err
	if damaged {
		g.damaged++
	}
	return err
}

// seenAgain returns the last error that spoke of damage if there was another
// before it: seen, opened again, and seen again. A bounded check may miss it.
func (g *gate) seenAgain() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.damaged < 2 {
		return nil
	}
	return g.suspect
}

// forget forgets the damage of a file that is no longer at the path.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.damaged, g.suspect = 0, nil
}

// isDamage says whether an error means that the file's contents make no sense.
func isDamage(err error) bool {
	return errors.Is(err, errCheck) || FaultOf(err) == FaultDamaged
}

// Opened says whether the database has ever been open. Until then nothing that
// it fails with is news: who opens it says why that takes so long.
func (db *DB) Opened() bool {
	db.gate.mu.Lock()
	defer db.gate.mu.Unlock()
	return db.gate.file != nil
}

// Fault says what keeps the database from being relied on, nil for nothing: it
// is not open, an error spoke of the file, or the path leads to another file
// than the one that is open. Into a deleted file everything can be written
// without an error, and is gone. It costs two stats, and never opens the file:
// closing a second descriptor would drop the locks that SQLite holds on it.
func (db *DB) Fault() error {
	g := db.gate
	g.mu.Lock()
	closed, suspect, file, log := g.closed, g.suspect, g.file, g.log
	g.mu.Unlock()
	if closed != nil {
		return closed
	}
	// First what explains the rest: a file that is gone leads to all kinds of
	// errors, and is rescued.
	if err := sameFile(db.path, file, errGone, errReplaced); err != nil {
		return err
	}
	if err := sameFile(db.path+"-wal", log, errLogGone, errLogGone); err != nil {
		return err
	}
	return suspect
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

// shut closes every connection and lets no new one through. Transactions that
// run are waited for.
func (db *DB) shut(ctx context.Context, why error) error {
	db.gate.close(fmt.Errorf("%w (%w)", errMending, why))
	for _, pool := range []*sql.DB{db.write, db.read} {
		pool.SetMaxIdleConns(0)
	}
	patience := time.NewTimer(openPatience)
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

// admit lets connections to the file that is now at the path through.
func (db *DB) admit(ctx context.Context) error {
	file, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	log, err := os.Stat(db.path + "-wal")
	if err != nil {
		return err
	}
	db.swap.Lock() // no transaction sees the session of one file and the tables of another
	defer db.swap.Unlock()
	db.series.forget()
	db.session = db.resumed
	db.write.SetMaxIdleConns(writers)
	db.read.SetMaxIdleConns(readers)
	db.gate.open(file, log)
	if db.inserts[0] == nil {
		return db.prepareInserts(ctx)
	}
	return db.write.PingContext(ctx) // a deleted file is rescued through what is open
}
