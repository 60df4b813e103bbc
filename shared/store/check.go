package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/taniwha3/thugshells/shared/metric"
)

// ErrDamaged means that the contents of the file make no sense. Errors of SQLite
// that mean the same do not wrap it: see FaultOf.
var ErrDamaged = errors.New("the database is damaged")

const (
	// wholeCheck is the size up to which every page is checked when the file is
	// opened: quick_check reads about 100 MB a second, an SD card 20.
	wholeCheck = 4 << 20
	// Of a larger file these are checked: the first and last rows of the tables that
	// grow, and some single rows between.
	ends     = 1000
	stations = 200
)

// Check checks the file as far as that is cheap at any size: the small tables, the
// ends of the large ones and of their indexes, and some rows between. A process
// that reads damage which it missed reports it.
func (db *DB) Check(ctx context.Context) error {
	info, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	if info.Size() <= wholeCheck {
		if err := db.pragmaCheck(ctx, "quick_check"); err != nil {
			return err
		}
	}
	queries := []string{
		"SELECT count(*), sum(length(series_key) + length(tags)) FROM series",
		"SELECT count(*), sum(length(detail)) FROM status",
		"SELECT count(*), sum(value) FROM counters",
		"SELECT count(*), sum(count) FROM ledger",
		"SELECT count(*), sum(count) FROM losses",
	}
	for _, from := range []string{
		"value AS v FROM samples ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 0 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 1 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 2 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 3 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"session AS v FROM samples WHERE uploaded = 3 ORDER BY session %[1]s, timestamp_ms %[1]s",
		"length(batch_id) AS v FROM upload_checkpoints ORDER BY id %[1]s",
		"length(metadata) AS v FROM sessions ORDER BY num %[1]s",
		"http_status AS v FROM rejected ORDER BY timestamp_ms %[1]s",
	} {
		for _, way := range []string{"ASC", "DESC"} {
			queries = append(queries, fmt.Sprintf("SELECT count(*), sum(v) FROM (SELECT "+from+" LIMIT %d)", way, ends))
		}
	}
	for _, query := range queries {
		var n, sum sql.NullFloat64
		if err := db.write.QueryRowContext(ctx, query).Scan(&n, &sum); err != nil {
			return fmt.Errorf("check the database: %w", err)
		}
	}
	var first, last sql.NullInt64
	err = db.write.QueryRowContext(ctx,
		"SELECT (SELECT min(timestamp_ms) FROM samples), (SELECT max(timestamp_ms) FROM samples)").Scan(&first, &last)
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	for i := range int64(stations) {
		at := first.Int64 + (last.Int64-first.Int64)/stations*i
		var v sql.NullFloat64
		const next = "SELECT value FROM samples WHERE timestamp_ms >= ? ORDER BY timestamp_ms, series_id LIMIT 1"
		err := db.write.QueryRowContext(ctx, next, at).Scan(&v)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("check the database: %w", err)
		}
	}
	return nil
}

// CheckWhole checks every page and every index of the file.
func (db *DB) CheckWhole(ctx context.Context) error { return db.pragmaCheck(ctx, "integrity_check") }

// pragmaCheck runs quick_check or integrity_check until its first finding.
func (db *DB) pragmaCheck(ctx context.Context, name string) error {
	var found string
	if err := db.write.QueryRowContext(ctx, "PRAGMA "+name+"(1)").Scan(&found); err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, metric.OneLine(found, MaxWords))
	}
	return nil
}
