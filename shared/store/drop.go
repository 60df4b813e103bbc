package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// The samples that DropUndelivered deletes, in this order: rejected ones, those that
// an earlier run held, pending ones beginning with the lowest priority, and those
// that this run holds. Each query is a slice of the oldest.
const (
	oldestRejected = `SELECT timestamp_ms, series_id FROM rejected ORDER BY timestamp_ms, series_id LIMIT ?1`
	oldestHeld     = `SELECT timestamp_ms, series_id FROM samples WHERE uploaded = 3 ORDER BY session, timestamp_ms, series_id LIMIT ?1`
	oldestLeft     = `SELECT timestamp_ms, series_id FROM samples WHERE uploaded = 3 AND session < ?2
		ORDER BY session, timestamp_ms, series_id LIMIT ?1`
	oldestOf = `SELECT timestamp_ms, series_id FROM samples WHERE uploaded = 0 AND priority = ?2
		ORDER BY timestamp_ms, series_id LIMIT ?1`

	deleteRejected = `DELETE FROM samples WHERE uploaded = 2 AND (timestamp_ms, series_id) IN (` + oldestRejected + `)`
	deleteReasons  = `DELETE FROM rejected WHERE (timestamp_ms, series_id) IN (` + oldestRejected + `)`
	deleteHeld     = `DELETE FROM samples WHERE uploaded = 3 AND (timestamp_ms, series_id) IN (` + oldestHeld + `)`
	deleteLeft     = `DELETE FROM samples WHERE uploaded = 3 AND (timestamp_ms, series_id) IN (` + oldestLeft + `)`
	deletePending  = `DELETE FROM samples WHERE uploaded = 0 AND (timestamp_ms, series_id) IN (` + oldestOf + `)`
)

// DropRejected deletes a slice of the rejected samples, the oldest first, and counts
// them as lost for the reason. It returns how many.
func (db *DB) DropRejected(ctx context.Context, reason string, at time.Time) (lost int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		if lost, err = affected(tx.ExecContext(ctx, deleteRejected, SliceRows)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, deleteReasons, SliceRows); err != nil {
			return err
		}
		if err := addToLedger(ctx, tx, map[string]int{"rejected": -lost}); err != nil {
			return err
		}
		return addLoss(ctx, tx, reason, lost, at)
	})
	if err != nil {
		return 0, fmt.Errorf("delete rejected samples (%s): %w", reason, err)
	}
	return lost, nil
}

// DropUndelivered deletes a slice of the samples that were not delivered, beginning
// with the least important, and counts them as lost for the reason. It returns how
// many; 0: there are none.
func (db *DB) DropUndelivered(ctx context.Context, reason string, at time.Time) (lost int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		for _, kind := range []struct {
			query string
			args  []any
			entry string // in the ledger; "" for pending, which has none
		}{
			{deleteRejected, []any{SliceRows}, "rejected"},
			{deleteLeft, []any{SliceRows, db.session}, "held"},
			{deletePending, []any{SliceRows, 3}, ""},
			{deletePending, []any{SliceRows, 2}, ""},
			{deletePending, []any{SliceRows, 1}, ""},
			{deletePending, []any{SliceRows, 0}, ""},
			{deleteHeld, []any{SliceRows}, "held"},
		} {
			if lost, err = affected(tx.ExecContext(ctx, kind.query, kind.args...)); err != nil {
				return err
			}
			if kind.entry == "rejected" {
				if _, err := tx.ExecContext(ctx, deleteReasons, SliceRows); err != nil {
					return err
				}
			}
			if lost == 0 {
				continue
			}
			if kind.entry != "" {
				if err := addToLedger(ctx, tx, map[string]int{kind.entry: -lost}); err != nil {
					return err
				}
			}
			return addLoss(ctx, tx, reason, lost, at)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("delete undelivered samples (%s): %w", reason, err)
	}
	return lost, nil
}
