package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/mattn/go-sqlite3"
	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// unreadableLimit is how often in a row the owner finds a file that the device
	// cannot read before it takes it for damaged.
	unreadableLimit = 6
	// acquittals is how often a file in which damage was met may be found sound as
	// a whole. After that it is made anew, which loses nothing that can be read.
	acquittals = 3
)

// errDevice means that the device fails to read what was stored, for now or for
// good.
var errDevice = errors.New("the device cannot read the database")

// cannotRead says whether an error is the device's rather than the file's.
func cannotRead(err error) bool {
	if se, ok := errors.AsType[sqlite3.Error](err); ok {
		switch se.ExtendedCode {
		case sqlite3.ErrIoErrRead, sqlite3.ErrIoErrShortRead, sqlite3.ErrNoExtended(sqlite3.ErrIoErr):
			return true
		}
	}
	return errors.Is(err, errDevice)
}

// cannotWrite says whether an error is of what is being written, rather than of
// what is read.
func cannotWrite(err error) bool {
	se, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS)
	}
	switch se.Code {
	case sqlite3.ErrIoErr:
		return !cannotRead(err)
	case sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem:
		return true
	}
	return false
}

// errSound means that a file was to be made anew, could not be whole, and is
// good as it is.
var errSound = errors.New("the database is sound")

// lookAgain is verify for a file that was just found damaged. SQLite says
// SQLITE_CORRUPT also of a page that the device failed to read (os_unix.c,
// unixRead: EIO becomes SQLITE_IOERR_CORRUPTFS, and that SQLITE_CORRUPT), and a
// card that was away for a moment has lost nothing.
func (db *DB) lookAgain(ctx context.Context) error {
	if err := db.through(ctx, db.path); err != nil {
		return err
	}
	return db.verify(ctx)
}

// readThrough reads all of a database and its log, as SQLite does but without
// asking what it means. No connection of ours may be open.
func readThrough(ctx context.Context, path string) error {
	buf := make([]byte, 256<<10)
	for _, part := range []string{"", "-wal"} {
		f, err := os.Open(path + part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDevice, err)
		}
		for at := int64(0); err == nil; at += int64(len(buf)) {
			if err = ctx.Err(); err == nil {
				_, err = f.ReadAt(buf, at)
			}
		}
		if closing := f.Close(); !errors.Is(err, io.EOF) || closing != nil {
			return fmt.Errorf("%w: %w", errDevice, errors.Join(err, closing))
		}
	}
	return nil
}

// acquit looks at every page and every index of a file in which damage was met
// that the bounded check does not see. One that is sound is gone on with.
func (db *DB) acquit(ctx context.Context, one *DB) error {
	met := db.gate.seenAgain()
	if met == nil {
		wanted, err := one.repairWanted(ctx)
		if err != nil {
			return err
		}
		if wanted != "" {
			met = fmt.Errorf("%w: another reader met it: %s", errCheck, wanted)
		}
	}
	if met == nil {
		return nil
	}
	if db.acquitted >= acquittals {
		return fmt.Errorf("%w: %w", errCheck, met) // met may be another error than the one of damage
	}
	if err := one.pragmaCheck(ctx, "integrity_check"); err != nil {
		return err
	}
	err := one.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM status WHERE component = ?", status.RepairRow)
		return err
	})
	if err != nil {
		return err
	}
	db.acquitted++
	db.gate.forget()
	db.log().Warn("damage was met, and a check of the whole database finds none; it is used on", "database", db.path, "cause", met.Error(), "times", db.acquitted)
	return nil
}

// sound says whether the file at the path can be opened, and every page and every
// index of it is good.
func (db *DB) sound(ctx context.Context) bool {
	one, err := open(ctx, db.path, db.opts)
	if err != nil {
		return false
	}
	err = one.check(ctx)
	if err == nil {
		err = one.pragmaCheck(ctx, "integrity_check")
	}
	return errors.Join(err, one.write.Close(), one.read.Close()) == nil
}

// pragmaCheck runs quick_check or integrity_check up to its first finding.
func (db *DB) pragmaCheck(ctx context.Context, name string) error {
	var found string
	if err := db.write.QueryRowContext(ctx, "PRAGMA "+name+"(1)").Scan(&found); err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", errCheck, found)
	}
	return nil
}
