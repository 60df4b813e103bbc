package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// A reopenError is why a database could not be opened again. It tells that the
// log has a line about it already.
type reopenError struct{ error }

func (e reopenError) Unwrap() error { return e.error }

const (
	// openPatience is how long Open waits for the collector to repair a database.
	openPatience = 10 * time.Second
	openPoll     = 200 * time.Millisecond
)

// errCollector is part of errors that end when the collector has repaired the
// database.
var errCollector = errors.New("the collector makes it usable")

// Open opens the database at path for a process that does not repair it. It may
// be the first of all that runs. It waits for the collector for openPatience.
func Open(ctx context.Context, path string, opts store.Options, log *slog.Logger) (*store.DB, error) {
	db := store.New(path, opts)
	patience, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	for {
		err := Reopen(ctx, db, log)
		if err == nil {
			return db, nil
		}
		if errors.Is(err, errCollector) || isDamage(err) {
			select {
			case <-time.After(openPoll):
				continue
			case <-patience.Done():
			}
		}
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
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
	if err := checkPlace(path, ""); err != nil {
		return err
	}
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
		return fmt.Errorf("the write-ahead log belongs to the file that was there before; %w", errCollector)
	}
	info, err := os.Lstat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if missing || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		// There is or was one, and to make another would hide what became of it.
		if db.Opened() || hasPages(path+"-wal") || repairUnderWay(path) || witnessOf(path) != "" {
			return fmt.Errorf("the database is gone or empty; %w", errCollector)
		}
	}
	if missing {
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
