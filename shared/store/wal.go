package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Sizes are the bytes that the database takes on disk.
type Sizes struct {
	Database int64
	WAL      int64
}

// Sizes looks at the files. It only ever stats them: closing a second
// descriptor of a database file would drop the locks that SQLite holds on it.
func (r *Reader) Sizes() (Sizes, error) {
	info, err := os.Stat(r.path)
	if err != nil {
		return Sizes{}, fmt.Errorf("size of the database: %w", err)
	}
	s := Sizes{Database: info.Size()}
	info, err = os.Stat(r.path + "-wal")
	switch {
	case err == nil:
		s.WAL = info.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("size of the write-ahead log: %w", err)
	}
	return s, nil
}

// A Checkpoint is what one checkpoint of the write-ahead log did.
type Checkpoint struct {
	Busy      bool // a reader or writer kept the log from being emptied; try again later
	Frames    int  // pages in the log
	Moved     int  // of those, moved into the database
	Duration  time.Duration
	Reclaimed int64 // bytes by which the log shrank
}

// Checkpoint moves the write-ahead log into the database and empties it. Being
// kept from it by others is an outcome, not an error: SQLite reports it in the
// first of three values and with no error code
// (sqlite.org/pragma.html#pragma_wal_checkpoint). Only the collector calls it.
func (db *DB) Checkpoint(ctx context.Context) (Checkpoint, error) {
	before, err := db.Sizes()
	if err != nil {
		return Checkpoint{}, err
	}
	start := time.Now()
	var busy int
	var c Checkpoint
	err = db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &c.Frames, &c.Moved)
	c.Duration = time.Since(start)
	if isBusy(err) {
		c.Busy = true
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("checkpoint: %w", err)
	}
	c.Busy = busy != 0
	after, err := db.Sizes()
	if err != nil {
		return c, err
	}
	c.Reclaimed = max(0, before.WAL-after.WAL)
	return c, nil
}
