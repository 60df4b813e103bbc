package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
)

// Audit counts the rows in every state and compares them with the ledger. The
// error names the first that differs. It reads every sample.
func (r *Reader) Audit(ctx context.Context) (l Ledger, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		var losses []Loss
		if l, losses, err = ledger(ctx, tx); err != nil {
			return err
		}
		counts, err := countStates(ctx, tx)
		if err != nil {
			return err
		}
		for _, c := range []struct {
			what  string
			state State
			want  int64
		}{
			{"pending", Pending, l.Pending}, {"held", Held, l.Held}, {"rejected", Rejected, l.Rejected}, {"local", Local, l.Local},
		} {
			if counts[c.state] != c.want {
				return fmt.Errorf("%d samples are %s, the books say %d (%+v, losses %v)", counts[c.state], c.what, c.want, l, losses)
			}
		}
		if counts[Delivered] > l.Delivered {
			return fmt.Errorf("%d delivered samples are stored, the books know of %d", counts[Delivered], l.Delivered)
		}
		return nil
	})
	return l, err
}

// countStates counts the stored samples in each state.
func countStates(ctx context.Context, tx *sql.Tx) (map[State]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT uploaded, count(*) FROM samples GROUP BY uploaded")
	if err != nil {
		return nil, fmt.Errorf("count samples: %w", err)
	}
	defer rows.Close()
	counts := map[State]int64{}
	for rows.Next() {
		var state State
		var n int64
		if err := rows.Scan(&state, &n); err != nil {
			return nil, fmt.Errorf("count samples: %w", err)
		}
		counts[state] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count samples: %w", err)
	}
	return counts, nil
}

// Newest returns up to limit pending rows, the newest first.
func (r *Reader) Newest(ctx context.Context, limit int) ([]Row, error) {
	return r.NewestSince(ctx, nil, math.MinInt64, Except{}, limit)
}
