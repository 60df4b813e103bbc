package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
)

// A Census is a count of the stored samples.
type Census struct {
	Samples  int64
	ByState  map[State]int64
	OldestMs map[State]int64
	NewestMs map[State]int64
	BySeries []SeriesCount // the most samples first
	NoSeries int64         // samples whose series is missing: damage
	Ledger   Ledger
	Losses   []Loss
	Rejected int64 // rows in the table of reasons
	Receipts int64
	LastMs   int64 // time of the last receipt; 0: none
}

// count reads the ledger and all samples.
func (c *Census) count(ctx context.Context, s snapshot) error {
	var err error
	if c.Ledger, c.Losses, err = s.ledger(ctx); err != nil {
		return err
	}
	err = s.each(ctx, `SELECT (SELECT count(*) FROM rejected), (SELECT count(*) FROM upload_checkpoints),
		coalesce((SELECT upload_time FROM upload_checkpoints ORDER BY id DESC LIMIT 1), 0)`, nil, 3, func(row []driver.Value) error {
		c.Rejected, _ = row[0].(int64)
		c.Receipts, _ = row[1].(int64)
		c.LastMs, _ = row[2].(int64)
		return nil
	})
	if err != nil {
		return fmt.Errorf("count receipts: %w", err)
	}
	counts := map[int64]*SeriesCount{}
	err = s.each(ctx, "SELECT timestamp_ms, series_id, uploaded FROM samples", nil, 3, func(row []driver.Value) error {
		at, ok1 := row[0].(int64)
		id, ok2 := row[1].(int64)
		uploaded, ok3 := row[2].(int64)
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("a row is not made of numbers: %v", row)
		}
		state := State(uploaded)
		c.Samples++
		if c.ByState[state] == 0 {
			c.OldestMs[state], c.NewestMs[state] = at, at
		}
		c.ByState[state]++
		c.OldestMs[state], c.NewestMs[state] = min(c.OldestMs[state], at), max(c.NewestMs[state], at)
		of := counts[id]
		if of == nil {
			of = &SeriesCount{ByState: map[State]int64{}}
			counts[id] = of
		}
		of.Samples++
		of.ByState[state]++
		return nil
	})
	if err != nil {
		return err
	}
	for id, of := range counts {
		if of.Series, err = s.series(ctx, id); errors.Is(err, sql.ErrNoRows) {
			c.NoSeries += of.Samples
			continue
		} else if err != nil {
			return err
		}
		c.BySeries = append(c.BySeries, *of)
	}
	return nil
}

// A SeriesCount is how many samples of a series are stored, by state.
type SeriesCount struct {
	Series  *Series
	Samples int64
	ByState map[State]int64
}

// Faults lists the differences between the ledger and the rows.
func (c Census) Faults() []string {
	var faults []string
	for _, e := range []struct {
		name   string
		state  State
		ledger int64
	}{
		{"pending", Pending, c.Ledger.Pending},
		{"held", Held, c.Ledger.Held},
		{"rejected", Rejected, c.Ledger.Rejected},
		{"local", Local, c.Ledger.Local},
	} {
		if n := c.ByState[e.state]; n != e.ledger {
			faults = append(faults, fmt.Sprintf("%d samples are %s, the ledger says %d", n, e.name, e.ledger))
		}
	}
	// Delivered samples are deleted in time and stay counted.
	if n := c.ByState[Delivered]; n > c.Ledger.Delivered {
		faults = append(faults, fmt.Sprintf("%d samples are delivered, the ledger says %d ever were", n, c.Ledger.Delivered))
	}
	if n := c.ByState[Rejected]; n != c.Rejected {
		faults = append(faults, fmt.Sprintf("%d samples are rejected, %d have a reason", n, c.Rejected))
	}
	if c.NoSeries > 0 {
		faults = append(faults, fmt.Sprintf("%d samples have no series", c.NoSeries))
	}
	return faults
}

// Count reads all samples in one transaction: about a second for a million. It
// takes memory for the series only. In a database in use the WAL cannot be emptied
// meanwhile.
func (r *Reader) Count(ctx context.Context) (c Census, err error) {
	c = Census{ByState: map[State]int64{}, OldestMs: map[State]int64{}, NewestMs: map[State]int64{}}
	// The ledger, the series and the rows have to be of the same moment.
	ctx = interruptible(ctx)
	err = r.snapshot(ctx, func(s snapshot) error { return c.count(ctx, s) })
	if err != nil {
		return c, fmt.Errorf("count samples: %w", err)
	}
	slices.SortFunc(c.BySeries, func(a, b SeriesCount) int {
		if a.Samples != b.Samples {
			return int(b.Samples - a.Samples)
		}
		return int(a.Series.ID - b.Series.ID)
	})
	return c, nil
}

// QuickCheck reads every page and returns at most limit findings of damage. It does
// not find a flipped bit inside a value: SQLite has no checksums
// (sqlite.org/pragma.html#pragma_quick_check).
func (r *Reader) QuickCheck(ctx context.Context, limit int) (findings []string, err error) {
	rows, err := r.read.QueryContext(interruptible(ctx), fmt.Sprintf("PRAGMA quick_check(%d)", limit))
	if err != nil {
		return nil, fmt.Errorf("check the file: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("check the file: %w", err)
		}
		if text != "ok" {
			findings = append(findings, text)
		}
	}
	return findings, rows.Err()
}
