package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/mattn/go-sqlite3"
)

// A Fault is why a database cannot be read.
type Fault int

// The faults. FaultOther is anything that the error's text alone explains.
const (
	FaultNone    Fault = iota
	FaultMissing       // no file at the path
	FaultEmpty         // a file in which no writer has made the tables yet
	FaultDenied        // no permission, or the log's files cannot be opened
	FaultDamaged       // not an SQLite file, or a page that makes no sense
	FaultLocked        // somebody keeps it locked for longer than busyTimeout
	FaultOlder         // an older schema, which the next writer brings up to date
	FaultNewer         // a newer schema
	FaultForeign       // a database of another program
	FaultOther
)

var (
	// ErrNotFile is returned for a directory, a FIFO or the like at the path.
	ErrNotFile = errors.New("not a regular file")

	errNoTables = errors.New("no writer has made the tables yet")
	errOlder    = errors.New("an older schema, which the next start of a writer brings up to date")
)

// ReadOptions are what a reader says when it opens the database.
type ReadOptions struct {
	// Still is for one look at the database in use or at a copy. A copy without a
	// -wal file is taken as it is, and nothing is created beside it.
	Still bool
}

// OpenReader opens an existing database of the present schema for reading, with
// the rights of a reader. While no writer has ever run it fails with
// fs.ErrNotExist. FaultOf tells its errors apart.
func OpenReader(ctx context.Context, path string, o ReadOptions) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	// Opening a FIFO would wait for its writer.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open database %s for reading: %w", path, ErrNotFile)
	}
	one := connector{path, dsn(path, url.Values{"mode": {"ro"}, "_query_only": {"true"}}), setUpReader, nil}
	if _, err := os.Stat(path + "-wal"); o.Still && errors.Is(err, fs.ErrNotExist) {
		one = connector{dsn: dsn(path, url.Values{"mode": {"ro"}, "immutable": {"1"}}), setUp: setUpReader}
	}
	read := sql.OpenDB(one)
	read.SetMaxOpenConns(readers)
	r := &Reader{path: path, read: read, series: newSeriesCache()}
	if err := r.checkSchema(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s for reading: %w", path, err), r.Close())
	}
	return r, nil
}

// checkSchema accepts the present schema only.
func (r *Reader) checkSchema(ctx context.Context) error {
	version, err := r.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case version == 0:
		return errNoTables
	case version < SchemaVersion:
		return fmt.Errorf("%w (schema %d)", errOlder, version)
	case version > SchemaVersion:
		return fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, version, SchemaVersion)
	}
	return nil
}

// FaultOf says what an error of a Reader's method or of OpenReader means.
func FaultOf(err error) Fault {
	var se sqlite3.Error
	switch {
	case err == nil:
		return FaultNone
	case errors.Is(err, ErrDamaged):
		return FaultDamaged
	case errors.Is(err, fs.ErrNotExist):
		return FaultMissing
	case errors.Is(err, fs.ErrPermission):
		return FaultDenied
	case errors.Is(err, errNoTables):
		return FaultEmpty
	case errors.Is(err, errOlder):
		return FaultOlder
	case errors.Is(err, ErrNewerSchema):
		return FaultNewer
	case errors.Is(err, ErrForeign):
		return FaultForeign
	case errors.As(err, &se):
		switch se.Code {
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
			return FaultDamaged
		case sqlite3.ErrBusy, sqlite3.ErrLocked:
			return FaultLocked
		case sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrReadonly, sqlite3.ErrAuth:
			return FaultDenied
		}
	}
	return FaultOther
}

// LastRejectedMs returns when one of the hundred newest rejected samples was
// last rejected, in Unix milliseconds; 0: there is none.
func (r *Reader) LastRejectedMs(ctx context.Context) (ms int64, err error) {
	err = r.read.QueryRowContext(ctx, `SELECT coalesce(max(rejected_ms), 0) FROM
		(SELECT rejected_ms FROM rejected ORDER BY timestamp_ms DESC LIMIT 100)`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read when samples were rejected: %w", err)
	}
	return ms, nil
}
