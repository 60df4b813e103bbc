package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// copyInto fills the file part with what can be read of from. Schema 0 stands
// for a file of which nothing can be read.
func (o Salvage) copyInto(ctx context.Context, part, from string, version int) (result Salvaged, err error) {
	if err := errors.Join(removeAll(part), CreateEmpty(part)); err != nil {
		return result, err
	}
	older := version == 1 || version == 2
	if !older {
		if err := makeTables(ctx, part); err != nil {
			return result, err
		}
	}
	// The new file is thrown away if this does not come to its end.
	pool := sql.OpenDB(connector{dsn(part, url.Values{"_journal_mode": {"MEMORY"}, "_synchronous": {"OFF"}}), setUpReader, nil})
	defer func() { err = errors.Join(err, pool.Close()) }()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	s := &salvage{conn: conn, until: time.Now().Add(salvageLimit), roomOf: part, leave: o.KeepFree}
	if version > 0 {
		if _, err := conn.ExecContext(ctx, "ATTACH ? AS old", readOnly(from)); err != nil {
			return result, fmt.Errorf("open the damaged database beside the new one: %w", err)
		}
	}
	switch {
	case older:
		err = s.older(ctx)
	case version == SchemaVersion:
		err = s.present(ctx, o.Known)
	}
	if err != nil {
		return result, err
	}
	result = Salvaged{Samples: s.copied, Halted: s.halted, Skipped: s.skipped}
	if older {
		return result, nil // the migration keeps the books
	}
	return result, s.closeBooks(ctx, &result, sizeOf(from))
}

// makeTables makes the tables of the present schema in an empty file.
func makeTables(ctx context.Context, path string) error {
	fresh, err := OpenFile(ctx, path, Options{})
	if err != nil {
		return err
	}
	return fresh.Close()
}

// present copies a file of the present schema.
func (s *salvage) present(ctx context.Context, known []Series) error {
	for _, table := range []struct{ name, key string }{
		{"series", "id"},
		{"sessions", "num"},
		{"status", "component"},
		{"counters", "name"},
		{"ledger", "name"},
		{"losses", "reason"},
		{"upload_checkpoints", "id"},
		{"rejected", "timestamp_ms"},
	} {
		if err := s.table(ctx, table.name, table.key); err != nil {
			return err
		}
	}
	if _, err := s.conn.ExecContext(ctx, "DELETE FROM main.status WHERE component = ?", status.RepairRow); err != nil {
		return err
	}
	if err := s.trustSeries(ctx, known); err != nil {
		return err
	}
	return s.walk(ctx, samplesWalk)
}

// older copies a file of an earlier schema as it is; opening it brings it up to
// date.
func (s *salvage) older(ctx context.Context) error {
	tables, err := s.olderTables(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if _, err := s.conn.ExecContext(ctx, tables[name]); err != nil {
			return err
		}
		if name == "metrics" {
			continue
		}
		if err := s.table(ctx, name, "rowid"); err != nil {
			return err
		}
	}
	return s.walk(ctx, olderWalk)
}

// olderTables returns how the tables of an earlier schema were made, by name.
func (s *salvage) olderTables(ctx context.Context) (map[string]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT name, sql FROM old.sqlite_schema WHERE type = 'table' AND name IN ('metrics', 'sessions', 'upload_checkpoints', 'schema_version')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tables := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		tables[name] = text
	}
	return tables, rows.Err()
}

// trustSeries takes out what cannot be the identity it was stored as, and puts
// in what this process knows.
func (s *salvage) trustSeries(ctx context.Context, known []Series) error {
	wrong, err := s.wrongSeries(ctx)
	if err != nil {
		return err
	}
	for _, id := range wrong {
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM main.series WHERE id = ?", id); err != nil {
			return err
		}
	}
	for _, one := range known {
		_, err := s.conn.ExecContext(ctx, "INSERT OR IGNORE INTO main.series VALUES (?, ?, ?, ?, ?, ?)",
			one.ID, seriesKey(one.Name, one.Device, one.Tags, one.Type), one.Name, one.Device, one.Tags, one.Type)
		if err != nil {
			return err
		}
	}
	return nil
}

// wrongSeries returns the ids of series whose key is not that of their identity.
func (s *salvage) wrongSeries(ctx context.Context) (wrong []int64, err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT id, series_key, metric_name, device_id, tags, value_type FROM main.series")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one Series
		var key string
		if err := rows.Scan(&one.ID, &key, &one.Name, &one.Device, &one.Tags, &one.Type); err != nil {
			return nil, err
		}
		if key != seriesKey(one.Name, one.Device, one.Tags, one.Type) || one.ID < 1 || one.ID > maxSeries {
			wrong = append(wrong, one.ID)
		}
	}
	return wrong, rows.Err()
}
