package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// insertSizes are the numbers of rows that the statements of DB.inserts store. A
// row costs a third of the time when a statement stores 16.
var insertSizes = [...]int{64, 16, 4, 1}

// prepareInserts prepares the statements of insert, before any transaction: there
// is only one connection for writing.
func (db *DB) prepareInserts(ctx context.Context) error {
	for i, rows := range insertSizes {
		query := "INSERT INTO samples (uploaded, session, timestamp_ms, series_id, value, priority) VALUES " +
			strings.Repeat("(?1, NULLIF(?2, 0), ?, ?, ?, ?), ", rows)
		var err error
		query = strings.TrimSuffix(query, ", ") + " ON CONFLICT DO NOTHING"
		if db.inserts[i], err = db.write.PrepareContext(ctx, query); err != nil { //nolint:sqlclosecheck // kept until the database is closed
			return fmt.Errorf("prepare the insert of %d rows: %w", rows, err)
		}
	}
	return nil
}

// A sampleRow is a row of the table samples.
type sampleRow struct {
	at, series int64
	value      float64
	priority   int
}

// insert stores samples, with shiftMs added to their times, and returns how many
// were new. It adds to lost those that cannot be stored, or that have another value
// than the stored one.
func (db *DB) insert(
	ctx context.Context, tx *sql.Tx, groups []Group, state State, session, shiftMs int64, lost map[string]int,
) (stored int, fresh []*Series, err error) {
	rows, fresh, err := db.rowsOf(ctx, tx, groups, shiftMs, lost)
	if err != nil {
		return 0, nil, err
	}
	args := []any{state, session}
	for i, size := range insertSizes {
		if len(rows) < size {
			continue
		}
		stmt := tx.StmtContext(ctx, db.inserts[i]) //nolint:sqlclosecheck // ends with the transaction
		for len(rows) >= size {
			args = args[:2]
			for _, r := range rows[:size] {
				args = append(args, r.at, r.series, sqlValue(r.value), r.priority)
			}
			n, err := affected(stmt.ExecContext(ctx, args...))
			if err != nil {
				return 0, nil, fmt.Errorf("insert %d samples: %w", size, err)
			}
			if n < size {
				differ, err := countConflicts(ctx, tx, rows[:size])
				if err != nil {
					return 0, nil, err
				}
				lost[status.LostSameTime] += differ
			}
			stored += n
			rows = rows[size:]
		}
	}
	return stored, fresh, nil
}

// rowsOf returns the rows of samples, in the order of the key: then each page is
// filled and written once. It stores new series, and returns those that are not in
// the cache. It adds to lost the samples that cannot be stored.
func (db *DB) rowsOf(
	ctx context.Context, tx *sql.Tx, groups []Group, shiftMs int64, lost map[string]int,
) (rows []sampleRow, fresh []*Series, err error) {
	for _, g := range groups {
		rows = slices.Grow(rows, len(g.Samples))
		for _, s := range g.Samples {
			if !metric.Finite(s.Value) {
				lost[status.LostUnstorable]++
				continue
			}
			series, isNew, err := db.seriesOf(ctx, tx, s.Name, s.Tags, g.Self)
			switch {
			case errors.Is(err, errSeriesLimit):
				lost[status.LostSeriesLimit]++
				continue
			case errors.Is(err, errManySeries):
				lost[status.LostUnstorable]++
				continue
			case err != nil:
				return nil, nil, err
			}
			if isNew {
				fresh = append(fresh, series)
			}
			rows = append(rows, sampleRow{s.TimeMs + shiftMs, series.ID, s.Value, g.Priority})
		}
	}
	slices.SortStableFunc(rows, func(a, b sampleRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series, b.series))
	})
	return rows, fresh, nil
}

// countConflicts counts the rows whose stored sample has another value.
func countConflicts(ctx context.Context, tx *sql.Tx, rows []sampleRow) (n int, err error) {
	for _, r := range rows {
		var value sql.NullFloat64
		err := tx.QueryRowContext(ctx, "SELECT value FROM samples WHERE timestamp_ms = ? AND series_id = ?", r.at, r.series).Scan(&value)
		if err != nil {
			return 0, fmt.Errorf("compare with the stored sample: %w", err)
		}
		if !value.Valid || value.Float64 != r.value {
			n++
		}
	}
	return n, nil
}

// sqlValue makes an integer of a whole number: it takes one to six bytes in the
// file instead of eight. Reading the column gives a float for both.
func sqlValue(v float64) any {
	if v == math.Trunc(v) && math.Abs(v) < 1<<47 {
		return int64(v)
	}
	return v
}
