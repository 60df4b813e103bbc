package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/status"
)

// A Snapshot is all that judging the health takes, read in one transaction.
type Snapshot struct {
	Status     []status.Row
	Ledger     Ledger
	Losses     []Loss
	Sizes      Sizes
	OldestMs   int64 // time of the oldest sample; 0: there is none
	PendingMs  int64 // time of the oldest pending sample; 0: there is none
	DeliveryMs int64 // time of the last receipt; 0: never
}

// A Ledger balances: Captured = Delivered + Pending + Held + Rejected + Local + Lost.
type Ledger struct {
	Captured  int64 // ever stored
	Delivered int64 // ever acknowledged, whether or not still stored
	Pending   int64 // stored, on their way; derived from the others
	Held      int64 // stored, waiting for a trusted clock
	Rejected  int64 // stored and rejected
	Local     int64 // text, which is never sent
	Lost      int64 // given up, all reasons
}

// A Loss is samples given up for one reason.
type Loss struct {
	Reason  string
	Count   int64
	FirstMs int64
	LastMs  int64
}

// Snapshot reads the present state. It touches no table that grows, except for
// the ends of indexes.
func (r *Reader) Snapshot(ctx context.Context) (Snapshot, error) {
	var s Snapshot
	err := r.readTx(ctx, func(tx *sql.Tx) error {
		var err error
		if s.Status, err = statuses(ctx, tx); err != nil {
			return err
		}
		if s.Ledger, s.Losses, err = ledger(ctx, tx); err != nil {
			return err
		}
		for _, q := range []struct {
			into  *int64
			query string
		}{
			{&s.OldestMs, oldestStored},
			{&s.PendingMs, oldestPending},
			{&s.DeliveryMs, lastReceipt},
		} {
			var at sql.NullInt64
			if err := tx.QueryRowContext(ctx, q.query).Scan(&at); err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("read %q: %w", q.query, err)
			}
			*q.into = at.Int64
		}
		return nil
	})
	if err != nil {
		return Snapshot{}, err
	}
	s.Sizes, err = r.Sizes()
	return s, err
}

const (
	oldestStored = "SELECT min(timestamp_ms) FROM samples"
	lastReceipt  = "SELECT upload_time FROM upload_checkpoints ORDER BY id DESC LIMIT 1"
)

// One step into the pending index for each priority.
const oldestPending = `SELECT min(t) FROM (
	SELECT (SELECT min(timestamp_ms) FROM samples WHERE uploaded = 0 AND priority = 0) AS t
	UNION ALL SELECT (SELECT min(timestamp_ms) FROM samples WHERE uploaded = 0 AND priority = 1)
	UNION ALL SELECT (SELECT min(timestamp_ms) FROM samples WHERE uploaded = 0 AND priority = 2)
	UNION ALL SELECT (SELECT min(timestamp_ms) FROM samples WHERE uploaded = 0 AND priority = 3))`

// Ledger reads the ledger and the losses.
func (r *Reader) Ledger(ctx context.Context) (l Ledger, losses []Loss, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		l, losses, err = ledger(ctx, tx)
		return err
	})
	return l, losses, err
}

func (r *Reader) readTx(ctx context.Context, fn func(*sql.Tx) error) (err error) {
	defer func() { err = r.guard.observe(err) }()
	tx, err := r.read.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	err = fn(tx)
	if rb := tx.Rollback(); err == nil && rb != nil {
		err = fmt.Errorf("end reading: %w", rb)
	}
	return err
}

func ledger(ctx context.Context, tx *sql.Tx) (l Ledger, losses []Loss, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT name, count FROM ledger")
	if err != nil {
		return l, nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var count int64
		if err := rows.Scan(&name, &count); err != nil {
			return l, nil, fmt.Errorf("read the ledger: %w", err)
		}
		l.enter(name, count)
	}
	if err := rows.Err(); err != nil {
		return l, nil, fmt.Errorf("read the ledger: %w", err)
	}
	lost, err := tx.QueryContext(ctx, "SELECT reason, count, first_ms, last_ms FROM losses ORDER BY reason")
	if err != nil {
		return l, nil, fmt.Errorf("read the losses: %w", err)
	}
	defer lost.Close()
	for lost.Next() {
		var loss Loss
		if err := lost.Scan(&loss.Reason, &loss.Count, &loss.FirstMs, &loss.LastMs); err != nil {
			return l, nil, fmt.Errorf("read the losses: %w", err)
		}
		losses = append(losses, loss)
	}
	l.close(losses)
	return l, losses, lost.Err()
}

// enter takes a row of the table.
func (l *Ledger) enter(name string, count int64) {
	fields := map[string]*int64{
		"captured": &l.Captured, "delivered": &l.Delivered, "held": &l.Held,
		"rejected": &l.Rejected, "local": &l.Local,
	}
	if f := fields[name]; f != nil {
		*f = count
	}
}

// close derives what no row says.
func (l *Ledger) close(losses []Loss) {
	l.Lost = 0
	for _, loss := range losses {
		l.Lost += loss.Count
	}
	l.Pending = l.Captured - l.Delivered - l.Held - l.Rejected - l.Local - l.Lost
}

// ledger is the same, past database/sql.
func (s snapshot) ledger(ctx context.Context) (l Ledger, losses []Loss, err error) {
	err = s.each(ctx, "SELECT name, count FROM ledger", nil, 2, func(row []driver.Value) error {
		name, _ := row[0].(string)
		count, _ := row[1].(int64)
		l.enter(name, count)
		return nil
	})
	if err != nil {
		return l, nil, fmt.Errorf("read the ledger: %w", err)
	}
	err = s.each(ctx, "SELECT reason, count, first_ms, last_ms FROM losses ORDER BY reason", nil, 4, func(row []driver.Value) error {
		var one Loss
		one.Reason, _ = row[0].(string)
		one.Count, _ = row[1].(int64)
		one.FirstMs, _ = row[2].(int64)
		one.LastMs, _ = row[3].(int64)
		losses = append(losses, one)
		return nil
	})
	if err != nil {
		return l, nil, fmt.Errorf("read the losses: %w", err)
	}
	l.close(losses)
	return l, losses, nil
}
