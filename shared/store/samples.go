package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// State is where a sample is on its way.
type State int

// The states, as stored in samples.uploaded.
const (
	Pending   State = 0
	Delivered State = 1
	Rejected  State = 2
	Held      State = 3 // its time is not trusted yet
	Local     State = 4 // text, which no server takes; stays here
)

// An Update is what a daemon writes in one transaction, along with the work it
// describes. Every part may be empty.
type Update struct {
	Groups   []Group
	Held     bool // the samples' times are not trusted, whatever RecordClock said last: they are held
	Status   []status.Row
	Counters []metric.Count // our own counters, kept so that a restart goes on counting
	Lost     map[string]int // samples given up before they could be stored, by reason
}

// A Group is samples that share a priority: 0 goes first and is given up last,
// 3 goes last.
type Group struct {
	Priority     int
	Samples      []metric.Sample
	Events       []metric.Event
	ClockTrusted bool // stamped while the clock was trusted: never held
	Self         bool // self-metrics: their series are few, and are stored beyond the limit on series
}

// Record stores an update in one transaction and returns how many samples were
// new. One that is stored already changes nothing; one with another value than
// the stored sample of its time and series is lost, and counted; so is one that
// can not be stored at all: it would keep the others out at every try. After an
// error nothing of the update is stored.
func (db *DB) Record(ctx context.Context, u Update) (stored int, err error) {
	var l Ledger
	err = db.seriesTx(ctx, func(tx *sql.Tx) (fresh []*Series, err error) {
		if stored, fresh, err = db.writeUpdate(ctx, tx, u); err == nil {
			l, _, err = ledger(ctx, tx)
		}
		return fresh, err
	})
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	db.guard.noteLedger(l)
	return stored, nil
}

// seriesTx is tx for what may store series, which fn returns: the cache gets them
// once they are committed.
func (db *DB) seriesTx(ctx context.Context, fn func(*sql.Tx) (fresh []*Series, err error)) error {
	var fresh []*Series
	err := db.tx(ctx, func(tx *sql.Tx) (err error) {
		fresh, err = fn(tx)
		return err
	})
	if err != nil {
		db.series.recount()
		return err
	}
	db.series.stored(fresh)
	return nil
}

// writeUpdate writes an update and the ledger entries that follow from it.
func (db *DB) writeUpdate(ctx context.Context, tx *sql.Tx, u Update) (stored int, fresh []*Series, err error) {
	lost := map[string]int{}
	maps.Copy(lost, u.Lost)
	books := map[string]int{}
	if len(u.Groups) > 0 {
		if err := db.syncSeries(ctx, tx); err != nil {
			return 0, nil, err
		}
		h, err := db.holdFor(ctx, tx, u)
		if err != nil {
			return 0, nil, err
		}
		for _, held := range []bool{true, false} {
			part, state, shift := hold{held, db.session, 0}, Pending, int64(0)
			if held {
				part, state, shift = h, Held, h.shiftMs
			}
			groups := slices.DeleteFunc(slices.Clone(u.Groups), func(g Group) bool { return (h.held && !g.ClockTrusted) != held })
			n, new, err := db.insert(ctx, tx, groups, state, part.session, shift, lost)
			if err != nil {
				return 0, nil, err
			}
			stored += n
			fresh = append(fresh, new...)
			heldBy := int64(0)
			if held {
				books["held"], heldBy = n, part.session
			}
			if err := putEvents(ctx, tx, groups, heldBy, shift); err != nil {
				return 0, nil, err
			}
		}
	}
	books["captured"] = stored
	for _, reason := range slices.Sorted(maps.Keys(lost)) {
		if err := addLoss(ctx, tx, reason, lost[reason], time.Now()); err != nil {
			return 0, nil, err
		}
		books["captured"] += lost[reason]
	}
	if err := addToLedger(ctx, tx, books); err != nil {
		return 0, nil, err
	}
	if err := putStatus(ctx, tx, u.Status); err != nil {
		return 0, nil, err
	}
	return stored, fresh, putCounters(ctx, tx, u.Counters)
}

// insertSizes are how many rows the statements of DB.inserts store. A row costs
// a third of the time when 16 go at once.
var insertSizes = [...]int{64, 16, 4, 1}

// prepareInserts prepares the statements that insert uses. It comes before any
// transaction, as the writing connection is the only one.
func (db *DB) prepareInserts(ctx context.Context) error {
	for i, rows := range insertSizes {
		query := "INSERT INTO samples (uploaded, session, timestamp_ms, series_id, value, priority) VALUES " +
			strings.Repeat("(?1, NULLIF(?2, 0), ?, ?, ?, ?), ", rows)
		var err error
		if db.inserts[i], err = db.write.PrepareContext(ctx, strings.TrimSuffix(query, ", ")+" ON CONFLICT DO NOTHING"); err != nil { //nolint:sqlclosecheck // kept until the database is closed
			return fmt.Errorf("prepare the insert of %d rows: %w", rows, err)
		}
	}
	return nil
}

// A sampleRow is a sample as it is stored.
type sampleRow struct {
	at, series int64
	value      float64
	priority   int
}

// insert stores samples, shifted in time, and returns how many were new. Those
// that met another value or can't be stored it adds to the lost.
func (db *DB) insert(ctx context.Context, tx *sql.Tx, groups []Group, state State, session, shiftMs int64, lost map[string]int) (stored int, fresh []*Series, err error) {
	var rows []sampleRow
	for _, g := range groups {
		rows = slices.Grow(rows, len(g.Samples))
		for _, s := range g.Samples {
			if !metric.Finite(s.Value) {
				lost[status.LostUnstorable]++
				continue
			}
			series, isNew, err := db.seriesOf(ctx, tx, s.Name, s.Tags, g.Self)
			if errors.Is(err, errSeriesLimit) {
				lost[status.LostSeriesLimit]++
				continue
			}
			if errors.Is(err, errManySeries) {
				lost[status.LostUnstorable]++
				continue
			}
			if err != nil {
				return 0, nil, err
			}
			if isNew {
				fresh = append(fresh, series)
			}
			rows = append(rows, sampleRow{s.TimeMs + shiftMs, series.ID, s.Value, g.Priority})
		}
	}
	// In the order of the key each page is filled and written once.
	slices.SortStableFunc(rows, func(a, b sampleRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series, b.series))
	})
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
			res, err := stmt.ExecContext(ctx, args...)
			if err != nil {
				return 0, nil, fmt.Errorf("insert %d samples: %w", size, err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return 0, nil, err
			}
			if int(n) < size {
				differ, err := countConflicts(ctx, tx, rows[:size])
				if err != nil {
					return 0, nil, err
				}
				lost[status.LostSameTime] += differ
			}
			stored += int(n)
			rows = rows[size:]
		}
	}
	return stored, fresh, nil
}

// countConflicts counts the rows that are not what is stored at their key. The same
// value again is the same sample.
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

// sqlValue binds whole numbers as integers, which take one to six bytes where a
// float takes eight; the column gives them back as numbers.
func sqlValue(v float64) any {
	if v == math.Trunc(v) && math.Abs(v) < 1<<47 {
		return int64(v)
	}
	return v
}

// addToLedger adds to the ledger's counts.
func addToLedger(ctx context.Context, tx *sql.Tx, add map[string]int) error {
	for _, name := range slices.Sorted(maps.Keys(add)) {
		if add[name] == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE ledger SET count = count + ? WHERE name = ?", add[name], name); err != nil {
			return fmt.Errorf("enter %s in the ledger: %w", name, err)
		}
	}
	return nil
}

// addLoss counts samples given up, under the reason.
func addLoss(ctx context.Context, tx *sql.Tx, reason string, n int, at time.Time) error {
	if n == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO losses (reason, count, first_ms, last_ms) VALUES (?1, ?2, ?3, ?3)
		ON CONFLICT (reason) DO UPDATE SET count = count + ?2, last_ms = ?3`, reason, n, at.UnixMilli())
	if err != nil {
		return fmt.Errorf("count %d lost samples (%s): %w", n, reason, err)
	}
	return nil
}

func putCounters(ctx context.Context, tx *sql.Tx, counters []metric.Count) error {
	if len(counters) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO counters (name, tags, value) VALUES (?1, ?2, ?3)
		ON CONFLICT (name, tags) DO UPDATE SET value = ?3 WHERE value <> ?3`)
	if err != nil {
		return fmt.Errorf("prepare the counters: %w", err)
	}
	defer stmt.Close()
	for _, c := range counters {
		if _, err := stmt.ExecContext(ctx, c.Name, c.Tags, c.Value); err != nil {
			return fmt.Errorf("keep counter %s%s: %w", c.Name, c.Tags, err)
		}
	}
	return nil
}

// Counters returns every kept counter, in order of name and tags.
func (r *Reader) Counters(ctx context.Context) (counters []metric.Count, err error) {
	defer func() { err = r.guard.observe(err) }()
	rows, err := r.read.QueryContext(ctx, "SELECT name, tags, value FROM counters ORDER BY name, tags")
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c metric.Count
		if err := rows.Scan(&c.Name, &c.Tags, &c.Value); err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		counters = append(counters, c)
	}
	return counters, rows.Err()
}
