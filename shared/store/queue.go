package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"strings"
)

// LowestPriority is the priority that is sent last.
const LowestPriority = 3

// Except is a time range whose rows are left out, both ends included. The zero value
// leaves out none.
type Except struct{ FromMs, ToMs int64 }

// NewestSince appends to into up to limit pending rows that are not older than
// sinceMs: the newest first, and at equal times the lowest priority number first.
func (r *Reader) NewestSince(ctx context.Context, into []Row, sinceMs int64, except Except, limit int) ([]Row, error) {
	if except == (Except{}) {
		except = Except{FromMs: math.MaxInt64, ToMs: math.MinInt64}
	}
	return r.appendRows(ctx, into, newestQuery(), int64(limit), sinceMs, except.FromMs, except.ToMs)
}

// newestQuery reads the newest rows of each priority from the pending index, then
// the newest of all.
func newestQuery() string {
	const one = `SELECT * FROM (SELECT timestamp_ms, series_id, value, priority FROM samples
		WHERE uploaded = 0 AND priority = %d AND timestamp_ms >= ?2 AND timestamp_ms NOT BETWEEN ?3 AND ?4
		ORDER BY timestamp_ms DESC, series_id DESC LIMIT ?1)`
	var walks []string
	for p := range LowestPriority + 1 {
		walks = append(walks, fmt.Sprintf(one, p))
	}
	return strings.Join(walks, " UNION ALL ") + " ORDER BY timestamp_ms DESC, priority, series_id DESC LIMIT ?1"
}

// A Cursor is the position of a walk over the backlog. The zero value is its start.
type Cursor struct {
	priority int
	started  bool // the walk is behind the row below
	timeMs   int64
	seriesID int64
}

// Rewind moves the cursor back to directly behind a row that the walk returned, so
// that it returns the rows after that again.
func (c *Cursor) Rewind(to Row) {
	c.timeMs, c.seriesID = to.TimeMs, to.Series.ID
	if c.priority >= 0 { // the walk goes by priority
		c.priority, c.started = to.Priority, true
	}
}

// Backlog appends to into up to limit pending rows that are older than beforeMs, of
// the first priority that has any left, in the order of their times or the
// reverse. It moves the cursor behind them; no rows means that the walk is at its
// end. The rows of one call have the same priority, and no other pending row of
// that priority lies between them.
func (r *Reader) Backlog(ctx context.Context, into []Row, at *Cursor, beforeMs int64, oldestFirst bool, limit int) ([]Row, error) {
	had := len(into)
	for ; at.priority <= LowestPriority; *at = (Cursor{priority: at.priority + 1}) {
		query, args := backlogQuery(*at, beforeMs, oldestFirst, limit)
		var err error
		if into, err = r.appendRows(ctx, into, query, args...); err != nil {
			return into, err
		}
		if len(into) > had {
			last := into[len(into)-1]
			at.started, at.timeMs, at.seriesID = true, last.TimeMs, last.Series.ID
			return into, nil
		}
	}
	return into, nil
}

// backlogQuery reads the rows behind the cursor. Of two upper bounds SQLite would
// use one and read all rows between them; so a walk to older rows has only the
// cursor as its bound once it has begun.
func backlogQuery(at Cursor, beforeMs int64, oldestFirst bool, limit int) (query string, args []int64) {
	query = `SELECT timestamp_ms, series_id, value, priority FROM samples INDEXED BY samples_pending
		WHERE uploaded = 0 AND priority = ?1`
	args = []int64{int64(at.priority), int64(limit)}
	order := " ORDER BY timestamp_ms DESC, series_id DESC LIMIT ?2"
	if oldestFirst {
		order = " ORDER BY timestamp_ms, series_id LIMIT ?2"
	}
	switch {
	case at.started && oldestFirst:
		query += " AND (timestamp_ms, series_id) > (?3, ?4) AND timestamp_ms < ?5"
		args = append(args, at.timeMs, at.seriesID, beforeMs)
	case at.started:
		query += " AND (timestamp_ms, series_id) < (?3, ?4)"
		args = append(args, at.timeMs, at.seriesID)
	default:
		query += " AND timestamp_ms < ?3"
		args = append(args, beforeMs)
	}
	return query + order, args
}

// appendRows runs a query for timestamp_ms, series_id, value and priority.
func (r *Reader) appendRows(ctx context.Context, into []Row, query string, args ...int64) ([]Row, error) {
	err := r.snapshot(ctx, func(s snapshot) error {
		var ids []int64 // of series that are not in the cache
		var rows []int  // their rows, by their index in into
		err := s.each(ctx, query, args, 4, func(row []driver.Value) error {
			at, ok1 := row[0].(int64)
			id, ok2 := row[1].(int64)
			value, ok3 := row[2].(float64)
			priority, ok4 := row[3].(int64)
			if !ok1 || !ok2 || !ok3 || !ok4 {
				return fmt.Errorf("a pending row is not made of numbers: %v", row)
			}
			one := Row{TimeMs: at, Value: value, Priority: int(priority), Series: r.series.get(s.version, id)}
			if one.Series == nil {
				ids, rows = append(ids, id), append(rows, len(into))
			}
			into = append(into, one)
			return nil
		})
		if err != nil {
			return err
		}
		found := map[int64]*Series{}
		for i, id := range ids {
			if found[id] == nil {
				if found[id], err = s.series(ctx, id); err != nil {
					return err
				}
			}
			into[rows[i]].Series = found[id]
		}
		return nil
	})
	if err != nil {
		return into, fmt.Errorf("read pending samples: %w", err)
	}
	return into, nil
}

// Delivered appends to into up to limit delivered rows that are older than untilMs,
// from the cursor on, the oldest first. It moves the cursor behind them; no rows
// means that there are no more.
func (r *Reader) Delivered(ctx context.Context, into []Row, at *Cursor, untilMs int64, limit int) ([]Row, error) {
	had := len(into)
	into, err := r.appendRows(ctx, into, `SELECT timestamp_ms, series_id, value, priority FROM samples NOT INDEXED
		WHERE uploaded = 1 AND (timestamp_ms, series_id) > (?1, ?2) AND timestamp_ms < ?3 AND (?5 < 0 OR priority = ?5)
		ORDER BY timestamp_ms, series_id LIMIT ?4`, at.timeMs, at.seriesID, untilMs, int64(limit), int64(at.priority))
	if err == nil && len(into) > had {
		last := into[len(into)-1]
		at.timeMs, at.seriesID = last.TimeMs, last.Series.ID
	}
	return into, err
}

// CursorAt returns a cursor for Delivered that begins at the given time.
func CursorAt(timeMs int64) Cursor { return CursorOf(-1, timeMs) }

// CursorOf returns a cursor for Delivered that begins at the given time and returns
// rows of one priority only.
func CursorOf(priority int, timeMs int64) Cursor {
	return Cursor{priority: priority, timeMs: timeMs, seriesID: -1}
}

// LastDelivered returns the row that the last receipt names; ok is false if nothing
// was delivered yet or the row has been deleted.
func (r *Reader) LastDelivered(ctx context.Context) (row Row, ok bool, err error) {
	rows, err := r.appendRows(ctx, nil, `SELECT timestamp_ms, series_id, value, priority FROM samples WHERE uploaded = 1
		AND (timestamp_ms, series_id) = (SELECT `+sqlSplit+` FROM upload_checkpoints ORDER BY id DESC LIMIT 1)`)
	if err != nil || len(rows) == 0 {
		return Row{}, false, err
	}
	return rows[0], true, nil
}
