package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/taniwha3/thugshells/shared/store"
)

// A reopenError is why a database could not be opened again. It tells that the
// log has a line about it already.
type reopenError struct{ error }

func (e reopenError) Unwrap() error { return e.error }

// Open opens the database at path for a process that does not repair it. It may
// be the first of all that runs.
func Open(ctx context.Context, path string, opts store.Options, log *slog.Logger) (*store.DB, error) {
	db := store.New(path, opts)
	if err := Reopen(ctx, db, log); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Reopen opens the database if its Fault says that it has to be, for a process
// that does not repair it: such a process waits for the collector, with an error.
func Reopen(ctx context.Context, db *store.DB, log *slog.Logger) error {
	why := db.Fault()
	if why == nil || errors.Is(why, store.ErrClosed) {
		return why
	}
	opened := db.Opened()
	if failed := (reopenError{}); opened && !errors.As(why, &failed) {
		log.Warn("the database is opened again", "database", db.Path(), "cause", why.Error())
	}
	if err := reopen(ctx, db, why); err != nil {
		db.SetFault(reopenError{err})
		return err
	}
	if opened {
		log.Info("the database is open again", "database", db.Path())
	}
	return nil
}

func reopen(ctx context.Context, db *store.DB, why error) error {
	path := db.Path()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("create the database directory: %w", err)
	}
	if err := db.Detach(ctx, why); err != nil {
		return err
	}
	if err := store.CheckFreeSpace(path); err != nil {
		return err
	}
	if walOfOldFile(db) {
		return errors.New("the write-ahead log belongs to the file that was there before; the collector sets it aside")
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if db.Opened() || hasPages(path+"-wal") || repairUnderWay(path) {
			return errors.New("the database is gone; the collector makes a new one")
		}
		if err := store.CreateEmpty(path); err != nil {
			return err
		}
	}
	if _, err := regularFile(path); err != nil {
		return err
	}
	one, err := openFile(ctx, db)
	if err != nil {
		return err
	}
	if err := one.Close(); err != nil {
		return err
	}
	return db.Attach(ctx)
}
