package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
)

var (
	// ErrNotFile is returned for a directory, a FIFO or the like at the path.
	ErrNotFile = errors.New("not a regular file")

	errNoTables = errors.New("the tables do not exist yet: no writer has opened the database")
	errOlder    = errors.New("an older schema, which the next writer migrates")
)

// ReadOptions are the settings of a reader.
type ReadOptions struct {
	// Still is for reading once, also from a copy: a file without a -wal file is
	// read as it is, and no file is created beside it.
	Still bool
}

// OpenReader opens an existing database of the present schema for reading. It needs
// no right to write. Before the first writer has run it fails with
// fs.ErrNotExist. FaultOf says what its errors mean.
func OpenReader(ctx context.Context, path string, o ReadOptions) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	// Opening a FIFO waits for its writer.
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
