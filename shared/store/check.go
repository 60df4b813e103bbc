package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// ErrDamaged means that what is in the file makes no sense, though SQLite said
// nothing yet.
var ErrDamaged = errors.New("the database is damaged")

const (
	// wholeCheck is the size up to which every page is looked at when the file
	// is opened: quick_check reads some 100 MB a second, and a card 20.
	wholeCheck = 4 << 20
	// ends and stations bound the look at a larger file: so many rows at the ends
	// of the tables that grow, and so many single rows between.
	ends     = 1000
	stations = 200
)

// Check looks through the file as far as that is cheap, whatever its size: the
// small tables, the ends of the large ones and of their indexes, and stations
// on the way between. What it misses is found by the process that meets it.
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
	err = db.write.QueryRowContext(ctx, "SELECT (SELECT min(timestamp_ms) FROM samples), (SELECT max(timestamp_ms) FROM samples)").Scan(&first, &last)
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	for i := range int64(stations) {
		at := first.Int64 + (last.Int64-first.Int64)/stations*i
		var v sql.NullFloat64
		err := db.write.QueryRowContext(ctx, "SELECT value FROM samples WHERE timestamp_ms >= ? ORDER BY timestamp_ms, series_id LIMIT 1", at).Scan(&v)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("check the database: %w", err)
		}
	}
	return nil
}

// CheckWhole looks at every page and every index of the file.
func (db *DB) CheckWhole(ctx context.Context) error { return db.pragmaCheck(ctx, "integrity_check") }

// pragmaCheck runs quick_check or integrity_check up to its first finding.
func (db *DB) pragmaCheck(ctx context.Context, name string) error {
	var found string
	if err := db.write.QueryRowContext(ctx, "PRAGMA "+name+"(1)").Scan(&found); err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, found)
	}
	return nil
}
