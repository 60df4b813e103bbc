package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// SchemaVersion is the schema that this program reads and writes.
const SchemaVersion = 3

// ErrNewerSchema is returned for a database of a newer program, which is not
// changed.
var ErrNewerSchema = errors.New("the database was written by a newer version of this program and is left untouched; upgrade this program")

// ErrForeign is returned for an SQLite database of another program.
var ErrForeign = errors.New("this SQLite database is not a metrics database and is left untouched; set storage.path to another file")

var (
	//go:embed migrations/schema2.sql
	schema2 string
	//go:embed migrations/schema2_sides.sql
	schema2Sides string
	//go:embed migrations/schema3.sql
	schema3 string
	//go:embed migrations/schema3_series_used.sql
	seriesUsed string
)

const versionTable = `CREATE TABLE IF NOT EXISTS schema_version (
	id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, applied_at TEXT NOT NULL)`

// SchemaVersion returns the version of the schema in the file; 0: the file is
// empty.
func (r *Reader) SchemaVersion(ctx context.Context) (int, error) {
	return schemaOf(ctx, r.read)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func schemaOf(ctx context.Context, q querier) (int, error) {
	var tables, versioned, metrics, second int
	err := q.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'),
		(SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'),
		(SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'metrics'),
		(SELECT count(*) FROM pragma_table_info('metrics') WHERE name = 'uploaded')`).Scan(&tables, &versioned, &metrics, &second)
	if err != nil {
		return 0, fmt.Errorf("read the schema: %w", err)
	}
	if versioned > 0 {
		var version sql.NullInt64
		if err := q.QueryRowContext(ctx, "SELECT max(version) FROM schema_version").Scan(&version); err != nil {
			return 0, fmt.Errorf("read the schema version: %w", err)
		}
		if version.Valid {
			return int(version.Int64), nil
		}
	}
	// The first programs did not always store the version.
	switch {
	case tables == 0:
		return 0, nil
	case metrics > 0 && second > 0:
		return 2, nil
	case metrics > 0:
		return 1, nil
	}
	return 0, ErrForeign
}

// migrate brings the file to SchemaVersion. It reads the version again inside the
// transaction, because another process may have migrated the file meanwhile.
func (db *DB) migrate(ctx context.Context) error {
	version, err := db.SchemaVersion(ctx)
	if err != nil {
		return err
	}
	if version == SchemaVersion {
		return db.addTables(ctx)
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		version, err := schemaOf(ctx, tx)
		if err != nil {
			return err
		}
		if version > SchemaVersion {
			return fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, version, SchemaVersion)
		}
		if version == SchemaVersion {
			return addTables(ctx, tx)
		}
		if _, err := tx.ExecContext(ctx, versionTable); err != nil {
			return fmt.Errorf("create schema_version: %w", err)
		}
		for _, step := range []struct {
			from, to int
			apply    func(context.Context, *sql.Tx) error
		}{
			{0, 3, createSchema3},
			{1, 2, schema1to2},
			{2, 3, db.schema2to3},
		} {
			if step.from != version {
				continue
			}
			if err := step.apply(ctx, tx); err != nil {
				return fmt.Errorf("migrate the database from schema %d to %d (nothing was changed): %w", step.from, step.to, err)
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)",
				step.to, time.Now().UTC().Format(time.RFC3339))
			if err != nil {
				return fmt.Errorf("write schema version %d: %w", step.to, err)
			}
			version = step.to
		}
		return addTables(ctx, tx)
	})
}

// addTables creates the tables that were added to the present schema.
func (db *DB) addTables(ctx context.Context) error {
	var have int
	if err := db.read.QueryRowContext(ctx,
		"SELECT count(*) FROM sqlite_schema WHERE name IN ('series_used', 'events')").Scan(&have); err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	if have == 2 {
		return nil
	}
	return db.tx(ctx, func(tx *sql.Tx) error { return addTables(ctx, tx) })
}

func addTables(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, seriesUsed+eventsTable); err != nil {
		return fmt.Errorf("create series_used and events: %w", err)
	}
	return nil
}

func createSchema3(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, schema3)
	return err
}

// schema1to2 adds the columns that an upload needs. It makes a new table, because
// SQLite cannot add columns with these constraints.
func schema1to2(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "ALTER TABLE metrics RENAME TO metrics_v1;"+schema2+schema2Sides)
	return err
}

// VersionOf reads the schema version of the file at path without changing it or
// its WAL.
func VersionOf(ctx context.Context, path string) (version int, err error) {
	read := sql.OpenDB(connector{path, dsn(path, url.Values{"mode": {"ro"}}), setUpReader, nil})
	defer func() { err = errors.Join(err, read.Close()) }()
	return schemaOf(ctx, read)
}
