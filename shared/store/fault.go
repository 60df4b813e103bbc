package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Fault returns why the database cannot be relied on, nil if it can: it is
// detached, an error pointed to a fault of the file, or another file is at the
// path. Writing to a deleted file succeeds, and what was written is lost. Fault
// costs three stats. It does not open the file: closing a second descriptor drops
// the locks that SQLite holds on it.
func (db *DB) Fault() error {
	g := db.guard
	g.mu.Lock()
	detached, suspect := g.detached, g.suspect
	g.mu.Unlock()
	if detached != nil {
		return detached
	}
	// A deleted file causes other errors as well, and is rescued; so it comes first.
	if err := db.PathFault(); err != nil {
		return err
	}
	return suspect
}

// PathFault fails if the files at the path are not the ones that are open or were
// open last. It also works while the database is detached.
func (db *DB) PathFault() error {
	_, _, err := db.guard.look()
	return err
}

// look stats the files at the path, for PathFault and for their sizes.
func (g *guard) look() (file, wal os.FileInfo, err error) {
	g.mu.Lock()
	openFile, openWAL, openSHM := g.file, g.wal, g.shm
	g.mu.Unlock()
	if file, err = sameFile(g.path, openFile, ErrDeleted, ErrReplaced); err != nil {
		return nil, nil, err
	}
	if wal, err = sameFile(g.path+"-wal", openWAL, ErrWALDeleted, ErrWALDeleted); err != nil {
		return nil, nil, err
	}
	// A process that opens the database after its index was deleted makes another
	// one, and does not see the locks of this process.
	if openSHM != nil { // it is not being opened
		if _, err = sameFile(g.path+"-shm", openSHM, ErrSHMDeleted, ErrSHMDeleted); err != nil {
			return nil, nil, err
		}
	}
	return file, wal, nil
}

// checkFiles fails if the files at the path are not the ones that are open, or if
// they were emptied, cut short or overwritten: what is written then is lost or damages more. It
// runs before each transaction, on its connection.
func (db *DB) checkFiles(ctx context.Context, conn *sql.Conn) error {
	g := db.guard
	if g == nil {
		return nil
	}
	file, wal, err := g.look()
	if err != nil {
		return err
	}
	g.mu.Lock()
	before := g.walBytes
	g.mu.Unlock()
	if file.Size() == 0 {
		return fmt.Errorf("%w while it was open", ErrEmptied)
	}
	if wal.Size() < before {
		if cut, err := walIsCut(ctx, conn, g.path); err != nil || cut {
			return errors.Join(err, cutError(cut))
		}
	}
	if err := g.overwritten(); err != nil {
		return err
	}
	g.noteWAL(wal)
	return nil
}

func cutError(cut bool) error {
	if cut {
		return ErrWALCut
	}
	return nil
}

// noteWAL notes the length of the WAL: only a checkpoint makes it shorter.
func (g *guard) noteWAL(wal os.FileInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.walBytes = wal.Size()
}

// noteCommit notes the length of the WAL after a commit, which makes it no shorter and
// not empty: one that is was cut since the commit, and the next check must see it.
func (g *guard) noteCommit() {
	if g == nil {
		return
	}
	size := fileSize(g.path + "-wal")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.walBytes = max(g.walBytes, size, 1)
}

// WALBytes is the length of the WAL after this process's last transaction.
func (db *DB) WALBytes() int64 {
	db.guard.mu.Lock()
	defer db.guard.mu.Unlock()
	return db.guard.walBytes
}

// walIsCut says whether the WAL is shorter than its index requires.
func walIsCut(ctx context.Context, conn *sql.Conn, path string) (bool, error) {
	var pageSize int64
	if err := conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&pageSize); err != nil {
		return false, err
	}
	var busy, frames, again, moved int64
	for { // until no other process changed it between the two statements
		if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &moved); err != nil {
			return false, err
		}
		size := fileSize(path + "-wal")
		if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &again, &moved); err != nil {
			return false, err
		}
		if frames == again {
			return frames > 0 && size < walHeader+frames*(frameHeader+pageSize), nil
		}
	}
}

// CheckFiles checks the files at the path as a transaction does, for Fault.
func (db *DB) CheckFiles(ctx context.Context) (err error) {
	if db.guard.check() != nil {
		return nil //nolint:nilerr // Fault returns it
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

// noteLedger notes the ledger after a Record.
func (g *guard) noteLedger(l Ledger) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ledger = l
}

// LastLedger is the ledger after this process's last Record.
func (db *DB) LastLedger() Ledger {
	db.guard.mu.Lock()
	defer db.guard.mu.Unlock()
	return db.guard.ledger
}

// Await waits while the database is being opened. It returns nil when it is open,
// or the fault when opening has failed or ctx ends.
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

// sameFile stats the file at path and fails if it is not the open one.
func sameFile(path string, open os.FileInfo, gone, replaced error) (at os.FileInfo, err error) {
	at, err = os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, gone
	case err != nil:
		return nil, fmt.Errorf("check the database file: %w", err)
	case !os.SameFile(at, open):
		return nil, replaced
	}
	return at, nil
}
