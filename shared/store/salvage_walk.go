package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A walk says how to go through a table of the damaged file from its newest row
// to its oldest. Keys are one number each: they are divided and compared.
type walk struct {
	key   string // of a row
	below string // condition: the row's key is below ?1
	from  string // condition: the row's key is ?2 or above
	order string // of the keys, downwards: %s stands for DESC and ASC
	into  string // of the new file
	rows  string // those that make sense; conditions and order follow
	table string
	start int64  // above every key
	there string // the key in the new file that is ?2 rows above ?1
}

// A key of samples is that of metrics.id: milliseconds << 20 | series.
var samplesWalk = walk{
	table: "old.samples NOT INDEXED",
	key:   "timestamp_ms << 20 | series_id",
	below: "(timestamp_ms, series_id) < (?1 >> 20, ?1 & 1048575)",
	from:  "(timestamp_ms, series_id) >= (?2 >> 20, ?2 & 1048575)",
	order: "timestamp_ms %[1]s, series_id %[1]s",
	start: 1<<62 + 1<<61,
	there: `SELECT timestamp_ms << 20 | series_id FROM main.samples WHERE (timestamp_ms, series_id) >= (?1 >> 20, ?1 & 1048575)
		ORDER BY timestamp_ms, series_id LIMIT 1 OFFSET ?2`,
	into: "INSERT OR IGNORE INTO main.samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority) ",
	rows: `SELECT timestamp_ms, series_id, value, value_text, session, uploaded, priority FROM old.samples NOT INDEXED
		WHERE typeof(timestamp_ms) = 'integer' AND typeof(uploaded) = 'integer' AND typeof(priority) = 'integer'
			AND uploaded BETWEEN 0 AND 4 AND priority BETWEEN 0 AND 3 AND typeof(session) IN ('integer', 'null')
			AND (typeof(value) IN ('real', 'integer') AND abs(value) <= 1.7976931348623157e308 OR uploaded IN (2, 4) AND value IS NULL)
			AND typeof(value_text) IN ('text', 'null') AND series_id IN (SELECT id FROM main.series) AND `,
}

var olderWalk = walk{
	table: "old.metrics NOT INDEXED",
	key:   "id",
	below: "id < ?1",
	from:  "id >= ?2",
	order: "id %[1]s",
	start: 1<<63 - 1,
	there: "SELECT id FROM main.metrics WHERE id >= ?1 ORDER BY id LIMIT 1 OFFSET ?2",
	into:  "INSERT OR IGNORE INTO main.metrics ",
	rows: `SELECT * FROM old.metrics NOT INDEXED
		WHERE typeof(timestamp_ms) = 'integer' AND typeof(metric_name) = 'text' AND `,
}

// salvageRows is the most rows that are copied by one statement.
const salvageRows = 4096

// walk copies the rows of a table, around what cannot be read. A statement that
// meets damage is tried again with half the rows, down to one; then the next key
// that can be read is looked for.
func (s *salvage) walk(ctx context.Context, w walk) error {
	desc, asc := fmt.Sprintf(w.order, "DESC"), fmt.Sprintf(w.order, "ASC")
	next := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1 OFFSET ?2", w.key, w.table, w.below, desc)
	copyAll := w.into + w.rows + w.below + " AND " + w.from + " ORDER BY " + asc
	at, rows := w.start, int64(salvageRows)
	for at > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.halted = s.halt(); s.halted != "" {
			return nil
		}
		var to sql.NullInt64
		err := s.conn.QueryRowContext(ctx, next, at, rows-1).Scan(&to)
		last := errors.Is(err, sql.ErrNoRows)
		if last { // fewer are left
			to, err = sql.NullInt64{Valid: true}, nil
		}
		if err == nil && (!to.Valid || to.Int64 >= at || to.Int64 < 0) {
			err = ErrDamaged // keys in a wrong order would lead round in a circle
		}
		if err == nil {
			var res sql.Result
			if res, err = s.conn.ExecContext(ctx, copyAll, at, to.Int64); err == nil {
				n, err := res.RowsAffected()
				if err != nil {
					return err
				}
				s.copied += n
			}
		}
		switch {
		case err == nil && last:
			at = 0
		case err == nil:
			at, rows = to.Int64, min(rows*2, salvageRows)
		case IsFull(err):
			s.halted = "the disk is full"
			return nil
		case CannotWrite(err):
			return fmt.Errorf("write the new database: %w", err)
		case rows > 1:
			rows /= 2
		default:
			low := to.Int64 // this row is passed over
			if !to.Valid || low >= at || low <= 0 || last {
				low = s.readable(ctx, w, desc, at)
			}
			if err := s.around(ctx, w, low, at); err != nil {
				return err
			}
			at = low
			s.skipped++
		}
	}
	// A key that lies leads a look-up astray without an error.
	return s.around(ctx, w, 0, w.start)
}

// readable returns the highest key at or above which nothing below at can be
// read any more, and below which something can; 0 for none. It steps down by
// doubling distances and then halves the last one.
func (s *salvage) readable(ctx context.Context, w walk, desc string, at int64) int64 {
	probe := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1", w.key, w.table, w.below, desc)
	good := func(key int64) bool {
		var found sql.NullInt64
		err := s.conn.QueryRowContext(ctx, probe, key).Scan(&found)
		return errors.Is(err, sql.ErrNoRows) || err == nil && found.Valid && found.Int64 < key && found.Int64 >= 0
	}
	bad := at
	for step := int64(1); ; step *= 2 {
		if step >= at || step < 0 {
			return 0
		}
		if good(at - step) {
			at -= step
			break
		}
		bad = at - step
	}
	for bad-at > 1 {
		if middle := at + (bad-at)/2; good(middle) {
			at = middle
		} else {
			bad = middle
		}
	}
	return at
}

// farAbove is how many rows lie between a place that cannot be read and where the
// rows above it are begun with again: more than a page holds.
const farAbove = 200

// around copies one by one what lies between low and high, up to the damage from
// either side. To look a key up SQLite compares it with the middle of a page,
// which may be what is damaged; going through the page in order comes further. It
// goes no further than smallTable rows: a damaged tree may lead round in a circle.
func (s *salvage) around(ctx context.Context, w walk, low, high int64) error {
	top := w.start
	err := s.conn.QueryRowContext(ctx, w.there, high, farAbove).Scan(&top)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	for _, way := range []string{"ASC", "DESC"} {
		query := w.rows + w.below + " AND " + w.from + " ORDER BY " + fmt.Sprintf(w.order, way)
		for _, row := range s.rows(ctx, query, top, low) {
			n, err := affected(s.conn.ExecContext(ctx, w.into+"VALUES (?"+strings.Repeat(", ?", len(row)-1)+")", row...))
			switch {
			case err == nil:
				s.copied += int64(n)
			case IsFull(err):
				return nil // which the walk finds out as well
			case CannotWrite(err):
				return fmt.Errorf("write the new database: %w", err)
			}
		}
	}
	return nil
}

// halt says why no more is to be copied.
func (s *salvage) halt() string {
	if time.Now().After(s.until) {
		return fmt.Sprintf("it took longer than %s", salvageLimit)
	}
	if free, err := FreeBytes(s.roomOf); err == nil && free < s.leave {
		return "the disk is nearly full"
	}
	return ""
}

// table copies a small table: at once, or row by row from both of its ends up to
// the damage. Values of another type than the column's are left out.
func (s *salvage) table(ctx context.Context, name, key string) error {
	columns, sane, err := s.columns(ctx, name)
	if err != nil {
		return err
	}
	list := strings.Join(columns, ", ")
	// A fresh file has entries of its own.
	_, err = s.conn.ExecContext(ctx, fmt.Sprintf("INSERT OR REPLACE INTO main.%s (%s) SELECT %s FROM old.%s WHERE %s", name, list, list, name, sane))
	if err == nil || ctx.Err() != nil || IsFull(err) {
		return ctx.Err()
	}
	if CannotWrite(err) {
		return fmt.Errorf("write the new database: %w", err)
	}
	s.skipped++
	insert := fmt.Sprintf("INSERT OR REPLACE INTO main.%s (%s) VALUES (?%s)", name, list, strings.Repeat(", ?", len(columns)-1))
	for _, way := range []string{"ASC", "DESC"} {
		query := fmt.Sprintf("SELECT %s FROM old.%s NOT INDEXED WHERE %s ORDER BY %s %s", list, name, sane, key, way)
		for _, row := range s.rows(ctx, query) {
			_, err := s.conn.ExecContext(ctx, insert, row...)
			switch {
			case err == nil:
			case IsFull(err):
				return nil
			case CannotWrite(err):
				return fmt.Errorf("write the new database: %w", err)
			}
		}
	}
	return ctx.Err()
}

// smallTable bounds the rows of a small table that are kept from each end.
const smallTable = 20000

// rows reads rows up to the first that cannot be read.
func (s *salvage) rows(ctx context.Context, query string, args ...any) (all [][]any) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil
	}
	for len(all) < smallTable && rows.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if rows.Scan(into...) != nil {
			break
		}
		all = append(all, row)
	}
	if rows.Err() != nil {
		return all // which is what it comes to
	}
	return all
}

// columns returns a table's columns and the condition that each has a value of
// its type.
func (s *salvage) columns(ctx context.Context, table string) (names []string, sane string, err error) {
	rows, err := s.conn.QueryContext(ctx, `SELECT name, type, "notnull" OR pk > 0 FROM pragma_table_info(?, 'main')`, table)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	var conditions []string
	for rows.Next() {
		var name, declared string
		var filled bool
		if err := rows.Scan(&name, &declared, &filled); err != nil {
			return nil, "", err
		}
		types := map[string]string{"INTEGER": "'integer'", "TEXT": "'text'", "REAL": "'real', 'integer'"}[declared]
		if types != "" {
			if !filled {
				types += ", 'null'"
			}
			conditions = append(conditions, fmt.Sprintf("typeof(%s) IN (%s)", name, types))
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, "", fmt.Errorf("the new file has no table %s", table)
	}
	return names, strings.Join(append(conditions, "true"), " AND "), rows.Err()
}
