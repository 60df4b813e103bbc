package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"time"
)

// addToLedger adds to entries of the ledger.
func addToLedger(ctx context.Context, tx *sql.Tx, add map[string]int) error {
	for _, name := range slices.Sorted(maps.Keys(add)) {
		if add[name] == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE ledger SET count = count + ? WHERE name = ?", add[name], name); err != nil {
			return fmt.Errorf("add to %s in the ledger: %w", name, err)
		}
	}
	return nil
}

// addLoss counts samples as lost for the reason.
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

// A Ledger balances: Captured = Delivered + Pending + Held + Rejected + Local + Lost.
type Ledger struct {
	Captured  int64 // ever stored, or lost before that
	Delivered int64 // ever delivered, whether or not still stored
	Pending   int64 // stored and not yet delivered; derived from the others
	Held      int64 // stored, waiting for a trusted clock
	Rejected  int64 // stored and rejected
	Local     int64 // text, which is never sent
	Lost      int64 // for all reasons
}

// A Loss is the samples that were lost for one reason.
type Loss struct {
	Reason  string
	Count   int64
	FirstMs int64
	LastMs  int64
}

// Ledger reads the ledger and the losses.
func (r *Reader) Ledger(ctx context.Context) (l Ledger, losses []Loss, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		l, losses, err = ledger(ctx, tx)
		return err
	})
	return l, losses, err
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

// enter takes over a row of the table.
func (l *Ledger) enter(name string, count int64) {
	fields := map[string]*int64{
		"captured": &l.Captured, "delivered": &l.Delivered, "held": &l.Held,
		"rejected": &l.Rejected, "local": &l.Local,
	}
	if f := fields[name]; f != nil {
		*f = count
	}
}

// close derives the counts that have no row.
func (l *Ledger) close(losses []Loss) {
	l.Lost = 0
	for _, loss := range losses {
		l.Lost += loss.Count
	}
	l.Pending = l.Captured - l.Delivered - l.Held - l.Rejected - l.Local - l.Lost
}

// ledger reads the ledger and the losses in a snapshot.
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
