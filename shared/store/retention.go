package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// SliceRows bounds the rows that one call deletes: collecting, which uses the same
// connection, then waits for a few milliseconds at most.
const SliceRows = 500

// A Sweep is the position of a walk over the stored samples, the oldest first. The
// zero value is its start.
type Sweep struct {
	started  bool
	timeMs   int64
	seriesID int64
}

// A Span is a range of sample times in Unix milliseconds, both ends included.
type Span struct{ FromMs, ToMs int64 }

// joined is the gap, in milliseconds, up to which two spans become one.
const joined = 60_000

// DeliveredSince returns the times of the samples that were delivered at sinceMs or
// later, in order.
func (r *Reader) DeliveredSince(ctx context.Context, sinceMs int64) (of []Span, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, deliveredSince, sinceMs)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t Span
			if err := rows.Scan(&t.FromMs, &t.ToMs); err != nil {
				return err
			}
			if n := len(of); n > 0 && t.FromMs <= of[n-1].ToMs+joined {
				of[n-1].ToMs = max(of[n-1].ToMs, t.ToMs)
			} else {
				of = append(of, t)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the newest deliveries: %w", err)
	}
	return of, nil
}

// A receipt of an earlier schema has only the newest time of its chunk.
const deliveredSince = `SELECT coalesce(first_uploaded_timestamp, last_uploaded_timestamp) AS first, last_uploaded_timestamp
	FROM upload_checkpoints WHERE upload_time >= ? AND last_uploaded_timestamp IS NOT NULL ORDER BY first`

// finished are the states of samples that will not be sent: delivered and local.
const finished = "uploaded IN (1, 4)"

// The first finished sample behind a key; the key that is a number of rows behind
// another.
const (
	nextDelivered = `SELECT timestamp_ms, series_id FROM samples WHERE (timestamp_ms, series_id) > (?, ?) AND timestamp_ms < ?
		AND ` + finished + ` ORDER BY timestamp_ms, series_id LIMIT 1`
	rowsOn = `SELECT timestamp_ms, series_id FROM samples WHERE (timestamp_ms, series_id) >= (?, ?) AND timestamp_ms < ?
		ORDER BY timestamp_ms, series_id LIMIT 1 OFFSET ?`
	deleteDelivered = `DELETE FROM samples WHERE (timestamp_ms, series_id) >= (?, ?) AND (timestamp_ms, series_id) <= (?, ?) AND uploaded = ?`
)

// DeleteDelivered deletes a slice of the delivered and local samples that are older
// than beforeMs, the oldest first, from the sweep's position on, except those with
// times in keep, which are in order. The ledger still counts delivered samples;
// local ones are counted as lost. Done says that the sweep is at its end.
func (db *DB) DeleteDelivered(ctx context.Context, at *Sweep, beforeMs int64, keep []Span) (deleted int, done bool, err error) {
	defer func() { err = db.guard.observe(err) }()
	if !at.started {
		*at = Sweep{started: true, timeMs: math.MinInt64}
	}
	until := beforeMs
	for _, k := range keep {
		if k.FromMs <= at.timeMs && at.timeMs <= k.ToMs {
			*at = Sweep{started: true, timeMs: k.ToMs, seriesID: math.MaxInt64}
		}
		if k.FromMs > at.timeMs {
			until = min(until, k.FromMs)
			break
		}
	}
	var first, last Sweep
	err = db.read.QueryRowContext(ctx, nextDelivered, at.timeMs, at.seriesID, until).Scan(&first.timeMs, &first.seriesID)
	if errors.Is(err, sql.ErrNoRows) {
		at.timeMs, at.seriesID = until, -1 // the next times to keep begin here
		return 0, until == beforeMs, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("find samples to delete: %w", err)
	}
	err = db.read.QueryRowContext(ctx, rowsOn, first.timeMs, first.seriesID, until, SliceRows-1).Scan(&last.timeMs, &last.seriesID)
	if errors.Is(err, sql.ErrNoRows) {
		last, err = Sweep{timeMs: until - 1, seriesID: math.MaxInt64}, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("find samples to delete: %w", err)
	}
	err = db.tx(ctx, func(tx *sql.Tx) error {
		deleteIn := func(state State) (int, error) {
			return affected(tx.ExecContext(ctx, deleteDelivered, first.timeMs, first.seriesID, last.timeMs, last.seriesID, state))
		}
		if deleted, err = deleteIn(Delivered); err != nil {
			return err
		}
		local, err := deleteIn(Local)
		if err != nil || local == 0 {
			return err
		}
		deleted += local
		if err := addToLedger(ctx, tx, map[string]int{"local": -local}); err != nil {
			return err
		}
		return addLoss(ctx, tx, status.LostLocalExpired, local, time.Now())
	})
	if err != nil {
		return 0, false, fmt.Errorf("delete old samples: %w", err)
	}
	at.timeMs, at.seriesID = last.timeMs, last.seriesID
	return deleted, false, nil
}

func affected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// How many rows of history are kept.
const (
	keptReceipts = 10000
	keptSessions = 1000
)

const (
	// The newest receipt is kept at any age: it has the time of the last delivery.
	deleteReceipts = `DELETE FROM upload_checkpoints WHERE id IN (
		SELECT id FROM upload_checkpoints WHERE id < (SELECT max(id) FROM upload_checkpoints) ORDER BY id LIMIT ?1)
		AND (id <= (SELECT max(id) FROM upload_checkpoints) - ?2 OR upload_time < ?3)`
	// A session with held samples is kept: its offset corrects their times.
	deleteSessions = `DELETE FROM sessions WHERE num IN (SELECT num FROM sessions ORDER BY num LIMIT ?1)
		AND num <= (SELECT max(num) FROM sessions) - ?2
		AND NOT EXISTS (SELECT 1 FROM samples WHERE samples.uploaded = 3 AND samples.session = sessions.num)`
)

// TrimHistory deletes a slice of the oldest receipts and sessions: receipts from
// before beforeMs, and all except the newest 10,000 receipts and 1,000 sessions. It
// returns how many it deleted; 0: there is nothing to delete.
func (db *DB) TrimHistory(ctx context.Context, beforeMs int64) (deleted int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		receipts, err := affected(tx.ExecContext(ctx, deleteReceipts, SliceRows, keptReceipts, beforeMs))
		if err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		sessions, err := affected(tx.ExecContext(ctx, deleteSessions, SliceRows, keptSessions))
		if err != nil {
			return fmt.Errorf("sessions: %w", err)
		}
		deleted = receipts + sessions
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("trim the history: %w", err)
	}
	return deleted, nil
}
