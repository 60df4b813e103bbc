package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
)

// Create makes the tables of the present schema in the file at path and closes
// it. A missing file is created; one of an earlier schema is brought up to date;
// a newer one is refused (ErrNewerSchema).
func Create(ctx context.Context, path string, opts Options) error {
	if err := CreateEmpty(path); err != nil {
		return err
	}
	db, err := openFile(ctx, path, opts)
	if err != nil {
		return err
	}
	return db.Close()
}

// VersionOf reads the schema version of the file at path without changing it or
// its WAL.
func VersionOf(ctx context.Context, path string) (version int, err error) {
	read := sql.OpenDB(connector{path, dsn(path, url.Values{"mode": {"ro"}}), setUpReader, nil})
	defer func() { err = errors.Join(err, read.Close()) }()
	return schemaOf(ctx, read)
}

// SeriesKey is the key under which an identity is stored: nothing else has it.
func SeriesKey(s Series) string { return seriesKey(s.Name, s.Device, s.Tags, s.Type) }

// KnownSeries returns the identities that this process has read or stored.
func (r *Reader) KnownSeries() []Series {
	known := r.series.all()
	all := make([]Series, 0, len(known))
	for id, s := range known {
		all = append(all, Series{ID: id, Name: s.Name, Device: s.Device, Tags: s.Tags, Type: s.Type})
	}
	return all
}
