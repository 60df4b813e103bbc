package store

import (
	"context"
	"fmt"
)

// A Latest is the newest sample of a series.
type Latest struct {
	Series
	TimeMs int64
	Value  float64
}

// Latest returns the newest sample of each numeric series that has one from
// sinceMs to untilMs, of up to limit series, in order of name and tags.
func (r *Reader) Latest(ctx context.Context, sinceMs, untilMs int64, limit int) ([]Latest, error) {
	// A bare column beside max() is of the row that has the maximum, see
	// https://www.sqlite.org/lang_select.html#bareagg.
	rows, err := r.read.QueryContext(ctx, `SELECT id, metric_name, device_id, tags, at, value FROM
		(SELECT series_id, max(timestamp_ms) AS at, value FROM samples WHERE timestamp_ms BETWEEN ?1 AND ?2 GROUP BY series_id)
		JOIN series ON id = series_id WHERE value_type = 0 AND value IS NOT NULL ORDER BY metric_name, tags, device_id LIMIT ?3`, sinceMs, untilMs, limit)
	if err != nil {
		return nil, fmt.Errorf("read the newest samples: %w", err)
	}
	defer rows.Close()
	var all []Latest
	for rows.Next() {
		var l Latest
		if err := rows.Scan(&l.ID, &l.Name, &l.Device, &l.Tags, &l.TimeMs, &l.Value); err != nil {
			return nil, fmt.Errorf("read the newest samples: %w", err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the newest samples: %w", err)
	}
	return all, nil
}
