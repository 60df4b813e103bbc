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

// A reopenError is why a database could not be opened again. It marks a failure that
// was already logged.
type reopenError struct{ error }

func (e reopenError) Unwrap() error { return e.error }

const (
	// openTimeout is how long Open waits for the collector to repair a database.
	openTimeout = 10 * time.Second
	openPoll    = 200 * time.Millisecond
)

// errCollector is part of errors that end when the collector has repaired the
// database.
var errCollector = errors.New("waiting for the collector to repair it")

// Open opens the database at path for a process that does not repair it. It creates
// a new database if there never was one, and waits for the collector to repair a
// damaged one for openTimeout.
func Open(ctx context.Context, path string, opts store.Options, log *slog.Logger) (*store.DB, error) {
	db := store.New(path, opts)
	timeout, cancel := context.WithTimeout(ctx, openTimeout)
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
			case <-timeout.Done():
			}
		}
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
}

// Reopen opens the database if it has a fault, for a process that does not repair
// it. If the collector has to repair it first, Reopen fails.
func Reopen(ctx context.Context, db *store.DB, log *slog.Logger) error {
	why := db.Fault()
	if why == nil || errors.Is(why, store.ErrClosed) {
		return why
	}
	opened := db.Opened()
	if failed := (reopenError{}); opened && !errors.As(why, &failed) {
		log.Warn("the database is being opened again", "database", db.Path(), "cause", why.Error())
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
		// There was a database, and a new one would hide that it was lost.
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
