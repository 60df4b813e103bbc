package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// ClockStep is the change of the wall clock, against the boot clock, that counts as a
	// step and shifts held samples. Smaller changes are corrections by a time daemon.
	ClockStep = 500 * time.Millisecond
	// releaseSlice bounds the samples that one transaction releases.
	releaseSlice = 10000
)

// A Clock is what is known of the wall clock at one moment.
type Clock struct {
	Now     status.Moment
	BootID  string
	Trusted bool
	By      string        // what confirms it; "": nothing
	NTP     *bool         // whether NTP reports it as synchronized; nil: unknown
	Since   time.Duration // on the boot clock: not trusted since; only if not Trusted
}

// offsetMs is the wall clock minus the boot clock, in milliseconds.
func (c Clock) offsetMs() int64 { return c.Now.Wall.UnixMilli() - c.Now.Boot.Milliseconds() }

// A ClockChange is the result of releasing held samples.
type ClockChange struct {
	Released int           // are pending now
	Lost     int           // another value was stored at their new time
	Shift    time.Duration // that was added to their times
	More     bool          // there are more to release: call RecordClock again
}

// RecordClock writes for all writers whether the wall clock is trusted. While it is
// not, samples are held. When it becomes trusted, the held samples of this boot get
// the times that the right clock would have shown and become pending: a slice in
// each call, in an order in which none meets another that still has its old time.
// Samples of earlier boots stay held, because their times cannot be known.
func (db *DB) RecordClock(ctx context.Context, c Clock) (change ClockChange, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		change = ClockChange{}
		note := status.Clock{Trusted: &c.Trusted, By: c.By, NTP: c.NTP, OffsetMs: c.offsetMs(), Session: db.session}
		if note.BaseMs, err = db.base(ctx, tx, c); err != nil {
			return err
		}
		if c.Trusted {
			if err := releaseEvents(ctx, tx, c); err != nil {
				return err
			}
			if change, err = db.release(ctx, tx, c); err != nil {
				return err
			}
			note.SteppedMs = change.Shift.Milliseconds()
		} else {
			note.HeldSinceMs = c.Now.Wall.Add(c.Since - c.Now.Boot).UnixMilli()
		}
		if !change.More {
			err := tx.QueryRowContext(ctx, "SELECT count(*) FROM samples WHERE uploaded = 3 AND (session <> ?1 OR session IS NULL OR ?2)",
				db.session, c.Trusted).Scan(&note.HeldEarlier)
			if err != nil {
				return err
			}
		}
		return writeStatus(ctx, tx, []status.Row{{
			Component: status.ClockRow, Daemon: status.ClockRow, State: status.Stopped, BootID: c.BootID,
			HeartbeatMs: c.Now.Wall.UnixMilli(), HeartbeatBootMs: c.Now.Boot.Milliseconds(), SuccessBootMs: -1, Detail: status.Text(note),
		}})
	})
	if err != nil {
		return ClockChange{}, fmt.Errorf("record the clock: %w", err)
	}
	return change, nil
}

// base returns the offset of the wall clock by which held samples of the running
// session are stamped. It stores the offset with the session for the next start.
func (db *DB) base(ctx context.Context, tx *sql.Tx, c Clock) (base int64, err error) {
	_, err = tx.ExecContext(ctx, `UPDATE sessions SET metadata = json_set(metadata, '$.offset_ms', ?1, '$.boot_id', ?2)
		WHERE num = ?3 AND json_valid(metadata) AND json_type(metadata) = 'object' AND metadata ->> '$.offset_ms' IS NULL`,
		c.offsetMs(), c.BootID, db.session)
	if err != nil {
		return 0, err
	}
	// Samples that other writers held in this boot before the first RecordClock.
	_, err = tx.ExecContext(ctx, `UPDATE samples SET session = ?1
		WHERE uploaded = 3 AND session IS NULL AND timestamp_ms BETWEEN ?2 AND ?3 AND ?1 > 0`,
		db.session, c.offsetMs(), c.Now.Wall.UnixMilli())
	if err != nil {
		return 0, err
	}
	var stored sql.NullInt64
	err = tx.QueryRowContext(ctx, "SELECT metadata ->> '$.offset_ms' FROM sessions WHERE num = ? AND json_valid(metadata)",
		db.session).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if !stored.Valid {
		return c.offsetMs(), nil
	}
	return stored.Int64, nil
}

// A sessionOffset is a session with held samples and the shift, in milliseconds,
// that makes their times right.
type sessionOffset struct{ num, shift int64 }

// sessionOffsets returns the sessions of the clock's boot that have held samples.
func sessionOffsets(ctx context.Context, tx *sql.Tx, c Clock) (all []sessionOffset, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT num, metadata ->> '$.offset_ms' FROM sessions
		WHERE json_valid(metadata) AND metadata ->> '$.boot_id' = ? AND metadata ->> '$.offset_ms' IS NOT NULL
			AND EXISTS (SELECT 1 FROM samples WHERE samples.uploaded = 3 AND samples.session = sessions.num)
		ORDER BY num`, c.BootID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var h sessionOffset
		var base int64
		if err := rows.Scan(&h.num, &base); err != nil {
			return nil, err
		}
		if h.shift = c.offsetMs() - base; abs(h.shift) <= ClockStep.Milliseconds() {
			h.shift = 0
		}
		all = append(all, h)
	}
	return all, rows.Err()
}

// release shifts a slice of the held samples of the boot and makes it pending.
func (db *DB) release(ctx context.Context, tx *sql.Tx, c Clock) (change ClockChange, err error) {
	all, err := sessionOffsets(ctx, tx, c)
	if err != nil || len(all) == 0 {
		return change, err
	}
	// A shift forward begins with the newest sample, a shift back with the oldest:
	// then none gets the time of a sample that has not been shifted yet.
	next, order := all[0], "ASC"
	if next.shift > 0 {
		next, order = all[len(all)-1], "DESC"
	}
	return db.releaseSession(ctx, tx, next.num, next.shift, order, len(all) > 1)
}

func (db *DB) releaseSession(ctx context.Context, tx *sql.Tx, session, shift int64,
	order string, more bool,
) (change ClockChange, err error) {
	if _, err := tx.ExecContext(ctx, `CREATE TEMP TABLE released AS SELECT timestamp_ms, series_id, value, value_text, priority FROM samples
		WHERE uploaded = 3 AND session = ? ORDER BY timestamp_ms `+order+", series_id LIMIT ?", session, releaseSlice); err != nil {
		return change, err
	}
	taken, err := affected(tx.ExecContext(ctx, `DELETE FROM samples
		WHERE (timestamp_ms, series_id) IN (SELECT timestamp_ms, series_id FROM temp.released)`))
	if err != nil {
		return change, err
	}
	db.series.endSurvey() // a survey may have passed the new times
	change.Released, err = affected(tx.ExecContext(ctx, `INSERT INTO samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority)
		SELECT timestamp_ms + ?1, series_id, value, value_text, ?2, 0, priority FROM temp.released WHERE true
		ORDER BY timestamp_ms, series_id ON CONFLICT DO NOTHING`, shift, session))
	if err != nil {
		return change, err
	}
	if _, err := tx.ExecContext(ctx, "DROP TABLE temp.released"); err != nil {
		return change, err
	}
	change.Lost, change.Shift = taken-change.Released, time.Duration(shift)*time.Millisecond
	change.More = more || taken == releaseSlice
	if err := addToLedger(ctx, tx, map[string]int{"held": -taken}); err != nil {
		return change, err
	}
	return change, addLoss(ctx, tx, status.LostSameTime, change.Lost, time.Now())
}

// A clockHold says whether the samples of an update are held.
type clockHold struct {
	held    bool
	session int64 // of the held samples
	shiftMs int64 // to the clock by which the session's held samples are stamped
}

// holdOf reads whether the samples of an update have to be held.
func (db *DB) holdOf(ctx context.Context, tx *sql.Tx, u Update) (h clockHold, err error) {
	h = clockHold{held: u.HoldAll, session: db.session}
	row := status.Row{Component: status.ClockRow}
	err = tx.QueryRowContext(ctx, "SELECT boot_id, detail FROM status WHERE component = ?", row.Component).Scan(&row.BootID, &row.Detail)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read whether the clock is trusted: %w", err)
	}
	note, err := status.Detail[status.Clock](row)
	if err != nil {
		return h, nil //nolint:nilerr // the next RecordClock writes it again
	}
	var by status.Row
	if len(u.Status) > 0 {
		by = u.Status[0]
	}
	if by.BootID != "" && row.BootID != "" && by.BootID != row.BootID {
		return clockHold{held: true}, nil // not recorded in this boot yet
	}
	if note.IsTrusted() {
		return h, nil
	}
	h.held = true
	if h.session == 0 {
		h.session = note.Session
	}
	if by.HeartbeatBootMs > 0 {
		h.shiftMs = note.BaseMs - (by.HeartbeatMs - by.HeartbeatBootMs)
		if abs(h.shiftMs) <= ClockStep.Milliseconds() {
			h.shiftMs = 0
		}
	}
	return h, nil
}

// RecordedClock returns what RecordClock wrote last in the given boot, and how far
// the wall clock was ahead of the boot clock then; ok is false if it wrote nothing.
func (r *Reader) RecordedClock(ctx context.Context, bootID string) (c Clock, offset time.Duration, ok bool, err error) {
	row, ok, err := r.StatusOf(ctx, status.ClockRow)
	if err != nil || !ok || row.BootID != bootID || bootID == "" {
		return Clock{}, 0, false, err
	}
	note, err := status.Detail[status.Clock](row)
	if err != nil {
		return Clock{}, 0, false, nil //nolint:nilerr // as good as nothing noted
	}
	c = Clock{BootID: bootID, Trusted: note.IsTrusted(), By: note.By}
	if !c.Trusted {
		c.Since = time.Duration(note.HeldSinceMs-note.OffsetMs) * time.Millisecond
	}
	return c, time.Duration(note.OffsetMs) * time.Millisecond, true, nil
}

func abs(n int64) int64 { return max(n, -n) }
