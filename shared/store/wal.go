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

// Sizes are the lengths of the database's files in bytes.
type Sizes struct {
	Database int64
	WAL      int64
}

// Sizes stats the files. It does not open them: closing a second descriptor of a
// database file drops the locks that SQLite holds on it.
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
		return s, fmt.Errorf("size of the WAL: %w", err)
	}
	return s, nil
}

// A Checkpoint is the result of one checkpoint.
type Checkpoint struct {
	Busy      bool // a reader or writer kept the WAL from being emptied; try again later
	Frames    int  // pages in the WAL
	Moved     int  // of those, moved into the database
	Duration  time.Duration
	Reclaimed int64 // bytes of the WAL that can be used again or were returned to the filesystem
	Before    int64 // length of the WAL's file before and after
	After     int64
}

const (
	// walHeader and frameHeader are the bytes around the pages in a WAL
	// (sqlite.org/fileformat2.html#the_write_ahead_log).
	walHeader   = 32
	frameHeader = 24
	// checkpointWait is how long a checkpoint waits for readers. Writers wait for it
	// meanwhile.
	checkpointWait = 20 * time.Millisecond
)

// Checkpoint moves the WAL into the database, so that the next transaction starts
// at the beginning of the WAL. A WAL file of more than keep bytes is cut to nothing;
// a shorter one keeps its length, because overwriting a file costs the device a
// third less than growing it: the filesystem's journal has nothing to write.
//
// If readers or writers prevent it, the result is Busy and no error: SQLite reports
// this in the first of three values (sqlite.org/pragma.html#pragma_wal_checkpoint).
// Only the collector calls Checkpoint. SQLite itself runs a checkpoint when the last
// connection of all processes closes, if that connection can write.
func (db *DB) Checkpoint(ctx context.Context, keep int64) (Checkpoint, error) {
	if err := db.CheckFiles(ctx); err != nil {
		return Checkpoint{}, err
	}
	before, err := db.Sizes()
	if err != nil {
		return Checkpoint{}, err
	}
	start := time.Now()
	db.guard.ownWrites(true)
	c, err := db.checkpoint(ctx, before.WAL > keep)
	db.guard.ownWrites(false)
	c.Duration = time.Since(start)
	if err != nil {
		return c, fmt.Errorf("checkpoint: %w", db.guard.observe(err))
	}
	after, err := db.Sizes()
	c.Before, c.After = before.WAL, after.WAL
	return c, err
}

func (db *DB) checkpoint(ctx context.Context, shrink bool) (c Checkpoint, err error) {
	// Most of the work is done while others write, on another connection.
	var busy, pageSize int
	if err := db.read.QueryRowContext(ctx, "PRAGMA page_size").Scan(&pageSize); err != nil {
		return c, err
	}
	err = db.read.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &c.Frames, &c.Moved)
	if err != nil && !isBusy(err) {
		return c, err
	}
	mode := "RESTART"
	if shrink {
		mode = "TRUNCATE"
	}
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := setBusyTimeout(ctx, conn, checkpointWait); err != nil {
		return c, err
	}
	var frames, moved int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &moved)
	if reset := setBusyTimeout(context.WithoutCancel(ctx), conn, busyTimeout); reset != nil {
		return c, errors.Join(err, reset)
	}
	switch {
	case isBusy(err):
		c.Busy = true
	case err != nil:
		return c, err
	case busy != 0:
		c.Busy, c.Frames, c.Moved = true, frames, moved
	default:
		// For a WAL that was cut SQLite returns 0 and 0.
		c.Frames = max(c.Frames, frames)
		c.Moved = c.Frames
		if c.Frames > 0 {
			c.Reclaimed = walHeader + int64(c.Frames)*int64(pageSize+frameHeader)
		}
	}
	return c, nil
}

// setBusyTimeout sets how long statements of the connection wait for locks. SQLite acts
// when it compiles this PRAGMA, so it must not be one of the kept statements: those of
// Exec without arguments are not, if the context that go-sqlite3 gets cannot end.
func setBusyTimeout(ctx context.Context, conn *sql.Conn, d time.Duration) error {
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", d.Milliseconds())); err != nil {
		return fmt.Errorf("set busy_timeout: %w", err)
	}
	return nil
}
