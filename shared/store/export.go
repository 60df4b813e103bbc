package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// A Stored is a sample in any state.
type Stored struct {
	TimeMs int64
	Value  float64
	State  State
	Series *Series
}

// exportRows bounds the rows that Stored reads in one transaction: its caller may be
// slow, and an open transaction keeps the WAL from being emptied.
const exportRows = 10000

const storedFrom = `SELECT timestamp_ms, series_id, value, uploaded FROM samples
	WHERE (timestamp_ms, series_id) > (?1, ?2) AND value IS NOT NULL ORDER BY timestamp_ms, series_id LIMIT ?3`

// Stored calls each for every sample with a value and a time of sinceMs or later,
// in the order of their times, until it returns an error. Samples that are stored
// meanwhile may be included.
func (r *Reader) Stored(ctx context.Context, sinceMs int64, each func(Stored) error) error {
	at, id := sinceMs-1, int64(MaxSeries)
	batch := make([]Stored, 0, exportRows)
	for {
		batch = batch[:0]
		err := r.snapshot(ctx, func(s snapshot) error {
			known := map[int64]*Series{}
			return s.each(ctx, storedFrom, []int64{at, id, exportRows}, 4, func(row []driver.Value) error {
				one := Stored{}
				var ok1, ok2, ok3, ok4 bool
				var uploaded int64
				one.TimeMs, ok1 = row[0].(int64)
				id, ok2 = row[1].(int64)
				one.Value, ok3 = row[2].(float64)
				uploaded, ok4 = row[3].(int64)
				if !ok1 || !ok2 || !ok3 || !ok4 {
					return fmt.Errorf("a row is not made of numbers: %v", row)
				}
				at, one.State = one.TimeMs, State(uploaded)
				series, ok := known[id]
				if !ok {
					var err error
					if series, err = s.series(ctx, id); err != nil && !errors.Is(err, sql.ErrNoRows) {
						return err
					}
					known[id] = series
				}
				one.Series = series
				batch = append(batch, one)
				return nil
			})
		})
		if err != nil {
			return fmt.Errorf("read samples: %w", err)
		}
		for _, one := range batch {
			if one.Series == nil {
				continue // damage, which Count reports
			}
			if err := each(one); err != nil {
				return err
			}
		}
		if len(batch) < exportRows {
			return nil
		}
	}
}
