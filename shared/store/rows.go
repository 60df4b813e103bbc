package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/mattn/go-sqlite3"
)

// A snapshot is one read transaction that calls the driver directly: database/sql
// takes longer than SQLite to convert the values. Rows and their series are read in
// the same transaction, because an id may belong to another series later.
type snapshot struct {
	conn    *sqlite3.SQLiteConn
	r       *Reader
	version int // of the cache that agrees with the transaction; -1: none
}

// snapshot runs fn in a read transaction.
func (r *Reader) snapshot(ctx context.Context, fn func(snapshot) error) (err error) {
	defer func() { err = r.guard.observe(err) }()
	one, err := r.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	return one.Raw(func(c any) (err error) {
		s := snapshot{conn: c.(conn).SQLiteConn, r: r}
		if _, err := s.conn.Exec("BEGIN", nil); err != nil {
			return err
		}
		defer func() {
			_, end := s.conn.Exec("ROLLBACK", nil)
			err = errors.Join(err, end)
		}()
		generation, err := pragma(s.conn, "user_version")
		if err != nil {
			return err
		}
		s.version = r.series.syncReader(generation)
		return fn(s)
	})
}

// each calls fn with every row of a query; the row is valid until fn returns.
func (s snapshot) each(ctx context.Context, query string, args []int64, columns int, fn func([]driver.Value) error) (err error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	rows, err := s.conn.QueryContext(here(ctx), query, named)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, columns)
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// series returns the series with the given id, or fails with sql.ErrNoRows.
func (s snapshot) series(ctx context.Context, id int64) (*Series, error) {
	if known := s.r.series.get(s.version, id); known != nil {
		return known, nil
	}
	var found *Series
	err := s.each(ctx, "SELECT metric_name, device_id, tags, value_type FROM series WHERE id = ?", []int64{id}, 4,
		func(row []driver.Value) error {
			name, ok1 := row[0].(string)
			device, ok2 := row[1].(string)
			tags, ok3 := row[2].(string)
			kind, ok4 := row[3].(int64)
			if !ok1 || !ok2 || !ok3 || !ok4 {
				return fmt.Errorf("its columns have other types: %v", row)
			}
			found = &Series{ID: id, Name: name, Device: device, Tags: tags, Type: int(kind), version: s.version}
			return nil
		})
	if err == nil && found == nil {
		err = sql.ErrNoRows
	}
	if err != nil {
		return nil, fmt.Errorf("read series %d: %w", id, err)
	}
	s.r.series.add(found)
	return found, nil
}
