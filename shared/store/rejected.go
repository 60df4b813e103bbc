package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// maxRejected bounds the rejected samples; the oldest are deleted and counted as
// lost.
const maxRejected = 10000

// MaxWords bounds the part of the server's message that is kept, in bytes.
const MaxWords = 1000

// A Rejection is why a row is rejected.
type Rejection struct {
	Row
	HTTPStatus int // 0: rejected by the shipper, before sending
	Reason     string
	Words      string // the server's message
	At         time.Time
}

// Reject marks pending rows as rejected, with the reason: they are kept and not
// sent again. It returns how many were pending.
func (db *DB) Reject(ctx context.Context, rejections []Rejection, at time.Time, u Update) (rejected int, err error) {
	err = db.seriesTx(ctx, func(tx *sql.Tx) (fresh []*Series, err error) {
		for _, r := range rejections {
			n, err := setState(ctx, tx, []Row{r.Row}, Pending, Rejected)
			if err != nil {
				return nil, err
			}
			if n == 0 {
				continue
			}
			rejected++
			_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO rejected (timestamp_ms, series_id, rejected_ms, http_status, reason, server_words)
				VALUES (?, ?, ?, ?, ?, ?)`, r.TimeMs, r.Series.ID, at.UnixMilli(), r.HTTPStatus,
				metric.OneLine(r.Reason, MaxWords), metric.OneLine(r.Words, MaxWords))
			if err != nil {
				return nil, fmt.Errorf("write the reason: %w", err)
			}
		}
		if err := addToLedger(ctx, tx, map[string]int{"rejected": rejected}); err != nil {
			return nil, err
		}
		if err := trimRejected(ctx, tx, maxRejected, at); err != nil {
			return nil, err
		}
		_, fresh, err = db.writeUpdate(ctx, tx, u)
		return fresh, err
	})
	if err != nil {
		return 0, fmt.Errorf("mark %d samples as rejected: %w", len(rejections), err)
	}
	return rejected, nil
}

// trimRejected deletes the oldest rejected samples, down to keep, and counts them as lost.
func trimRejected(ctx context.Context, tx *sql.Tx, keep int, at time.Time) error {
	var count int
	if err := tx.QueryRowContext(ctx, "SELECT count FROM ledger WHERE name = 'rejected'").Scan(&count); err != nil {
		return fmt.Errorf("count the rejected samples: %w", err)
	}
	if count <= keep {
		return nil
	}
	const oldest = "(SELECT timestamp_ms, series_id FROM rejected ORDER BY rejected_ms, timestamp_ms, series_id LIMIT ?)"
	res, err := tx.ExecContext(ctx, "DELETE FROM samples WHERE uploaded = 2 AND (timestamp_ms, series_id) IN "+oldest, count-keep)
	if err != nil {
		return fmt.Errorf("count the oldest rejected samples as lost: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM rejected WHERE (timestamp_ms, series_id) IN "+oldest, count-keep); err != nil {
		return fmt.Errorf("delete the oldest rejected samples: %w", err)
	}
	if err := addToLedger(ctx, tx, map[string]int{"rejected": -int(n)}); err != nil {
		return err
	}
	return addLoss(ctx, tx, status.LostRejectedOverflow, int(n), at)
}

// rejectedPage bounds the rows that Rejections reads in one transaction: its caller
// may be slow, and an open transaction keeps the WAL from being emptied.
const rejectedPage = 500

// Rejections calls each for every rejected sample, in the order in which they were
// rejected, until it returns an error. Samples that are rejected meanwhile are
// included.
func (r *Reader) Rejections(ctx context.Context, each func(Rejection) error) error {
	after := rejectedKey{at: math.MinInt64}
	for {
		page, last, err := r.rejections(ctx, after)
		if err != nil {
			return fmt.Errorf("read the rejected samples: %w", err)
		}
		for _, one := range page {
			if err := each(one); err != nil {
				return err
			}
		}
		if len(page) < rejectedPage {
			return nil
		}
		after = last
	}
}

// A rejectedKey is a position of Rejections.
type rejectedKey struct{ at, timeMs, seriesID int64 }

// rejections reads the page of rows behind the key.
func (r *Reader) rejections(ctx context.Context, after rejectedKey) (page []Rejection, last rejectedKey, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT r.timestamp_ms, r.series_id, s.value, s.priority,
				r.rejected_ms, r.http_status, r.reason, r.server_words, i.metric_name, i.device_id, i.tags, i.value_type
			FROM rejected AS r JOIN samples AS s USING (timestamp_ms, series_id) JOIN series AS i ON i.id = r.series_id
			WHERE s.uploaded = 2 AND (r.rejected_ms, r.timestamp_ms, r.series_id) > (?, ?, ?)
			ORDER BY r.rejected_ms, r.timestamp_ms, r.series_id LIMIT ?`, after.at, after.timeMs, after.seriesID, rejectedPage)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			of := &Series{}
			one := Rejection{Row: Row{Series: of}}
			var value sql.NullFloat64
			err := rows.Scan(&one.TimeMs, &of.ID, &value, &one.Priority,
				&last.at, &one.HTTPStatus, &one.Reason, &one.Words, &of.Name, &of.Device, &of.Tags, &of.Type)
			if err != nil {
				return err
			}
			last.timeMs, last.seriesID = one.TimeMs, of.ID
			one.Value, one.At = value.Float64, time.UnixMilli(last.at)
			page = append(page, one)
		}
		return rows.Err()
	})
	return page, last, err
}

// Requeue makes every rejected sample pending again, except those that have no
// value. It returns how many.
func (db *DB) Requeue(ctx context.Context) (requeued int, err error) {
	return db.requeue(ctx, "TRUE")
}

// RequeueTimes makes samples with times from fromMs to untilMs pending again that
// were rejected for their times before they were sent. It returns how many.
func (db *DB) RequeueTimes(ctx context.Context, fromMs, untilMs int64) (requeued int, err error) {
	// These reasons of vmjson.CheckSample begin with "timestamp".
	return db.requeue(ctx, "http_status = 0 AND reason LIKE 'timestamp %' AND timestamp_ms BETWEEN ? AND ?", fromMs, untilMs)
}

// requeue makes the rejected samples pending again for which the condition holds.
func (db *DB) requeue(ctx context.Context, where string, args ...any) (requeued int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE samples SET uploaded = 0 WHERE uploaded = 2 AND value IS NOT NULL
			AND (timestamp_ms, series_id) IN (SELECT timestamp_ms, series_id FROM rejected WHERE `+where+`)`, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if requeued = int(n); requeued == 0 && len(args) > 0 {
			return nil
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM rejected WHERE (timestamp_ms, series_id) NOT IN
			(SELECT r.timestamp_ms, r.series_id FROM rejected AS r JOIN samples AS s USING (timestamp_ms, series_id) WHERE s.uploaded = 2)`)
		if err != nil {
			return err
		}
		return addToLedger(ctx, tx, map[string]int{"rejected": -requeued})
	})
	if err != nil {
		return 0, fmt.Errorf("requeue the rejected samples: %w", err)
	}
	return requeued, nil
}

// LastRejectedMs returns when one of the hundred newest rejected samples was
// last rejected, in Unix milliseconds; 0: there is none.
func (r *Reader) LastRejectedMs(ctx context.Context) (ms int64, err error) {
	err = r.read.QueryRowContext(ctx, `SELECT coalesce(max(rejected_ms), 0) FROM
		(SELECT rejected_ms FROM rejected ORDER BY timestamp_ms DESC LIMIT 100)`).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read when samples were rejected: %w", err)
	}
	return ms, nil
}
