package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/status"
)

// A Snapshot is what health needs to know, read in one transaction.
type Snapshot struct {
	Status     []status.Row
	Ledger     Ledger
	Losses     []Loss
	Sizes      Sizes
	OldestMs   int64 // time of the oldest sample; 0: there is none
	PendingMs  int64 // time of the oldest pending sample; 0: there is none
	DeliveryMs int64 // time of the last receipt; 0: never
}

// Snapshot reads the present state. Of the tables that grow it reads only the ends
// of indexes.
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
