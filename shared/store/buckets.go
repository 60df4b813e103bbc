package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// SeriesNamed returns up to limit numeric series with one of the given stored
// names, in order of name and tags. Without names it returns all.
func (r *Reader) SeriesNamed(ctx context.Context, names []string, limit int) ([]Series, error) {
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	rows, err := r.read.QueryContext(ctx, `SELECT id, metric_name, device_id, tags FROM series
		WHERE value_type = 0 AND (?1 OR metric_name IN (SELECT value FROM json_each(?2)))
		ORDER BY metric_name, tags, device_id LIMIT ?3`, len(names) == 0, string(list), limit)
	if err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	defer rows.Close()
	var all []Series
	for rows.Next() {
		var s Series
		if err := rows.Scan(&s.ID, &s.Name, &s.Device, &s.Tags); err != nil {
			return nil, fmt.Errorf("read series: %w", err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	return all, nil
}

// A BucketSpan selects samples: those of the series at or after From and before
// Until, in Unix milliseconds, in buckets of StepMs. A bucket begins at a multiple
// of StepMs.
type BucketSpan struct {
	Series      []int64
	From, Until int64
	StepMs      int64
	Rate        bool // the increase of a counter per second instead of its value

	// SampleMs is how much of each step is read, from its beginning; see
	// SampleWindow. 0: all of it.
	SampleMs int64
}

// A Bucket is the samples of one series within one step.
type Bucket struct {
	Series        int64
	StartMs       int64
	Min, Max, Avg float64
}

const (
	// sliceMs bounds the time range that one transaction reads: while a reader has a
	// transaction open, the WAL cannot be emptied.
	sliceMs = int64(time.Hour / time.Millisecond)
	// maxGapMs is the longest time between two readings of a counter from which a
	// rate is computed.
	maxGapMs = int64(5 * time.Minute / time.Millisecond)
)

// Buckets calls fn with every bucket that has samples: the steps in order of time,
// and within a step the series. It reads the time range once, in the order of the
// table's key, in slices of an hour.
func (r *Reader) Buckets(ctx context.Context, span BucketSpan, fn func(Bucket)) error {
	ids, err := json.Marshal(span.Series)
	if err != nil {
		return err
	}
	query := levels
	if span.Rate {
		query = rates
	}
	slice := max(span.StepMs, sliceMs/span.StepMs*span.StepMs)
	if span.SampleMs > 0 {
		query = sampledLevels
		if span.Rate {
			query = sampledRates
		}
		slice = span.StepMs * sampledSteps
	}
	for from := span.From / span.StepMs * span.StepMs; from < span.Until; from += slice {
		until := min(from+slice, span.Until)
		if err := r.bucketsOf(ctx, query, fn, max(from, span.From), until, span.StepMs, string(ids), maxGapMs, span.SampleMs); err != nil {
			return fmt.Errorf("read samples of %s: %w", time.UnixMilli(from).UTC().Format(time.RFC3339), err)
		}
	}
	return nil
}

const levels = `SELECT series_id, timestamp_ms / ?3 * ?3 AS start, min(value), max(value), avg(value) FROM samples
	WHERE timestamp_ms >= ?1 AND timestamp_ms < ?2 AND series_id IN (SELECT value FROM json_each(?4)) AND value IS NOT NULL AND ?5 AND ?6 = 0
	GROUP BY start, series_id ORDER BY start, series_id`

// A reading below the one before it means that the counter restarted: there is no
// rate for it, and the next rate starts from it.
const rates = `SELECT series_id, at / ?3 * ?3 AS start,
		min((v - v0) * 1000.0 / (at - at0)), max((v - v0) * 1000.0 / (at - at0)), sum(v - v0) * 1000.0 / sum(at - at0)
	FROM (SELECT series_id, timestamp_ms AS at, value AS v,
			lag(timestamp_ms) OVER w AS at0, lag(value) OVER w AS v0 FROM samples
		WHERE timestamp_ms >= ?1 - ?5 AND timestamp_ms < ?2 AND series_id IN (SELECT value FROM json_each(?4)) AND value IS NOT NULL
		WINDOW w AS (PARTITION BY series_id ORDER BY timestamp_ms))
	WHERE at >= ?1 AND v >= v0 AND at - at0 <= ?5 AND ?6 = 0
	GROUP BY start, series_id ORDER BY start, series_id`

const (
	// readRows is about how many rows of a range are read at most: a board reads that
	// many in about 200 ms.
	readRows = 500_000
	// rowBytes is about what a stored sample takes.
	rowBytes = 32
	// sampledSteps bounds the steps of one transaction.
	sampledSteps = 12
)

// SampleWindow returns how much of each step to read, from its beginning; 0: all.
// A week of a busy board has millions of rows, of which a chart shows some hundred
// steps. Then only the first minutes of each step are read: long enough for every
// collector to have two readings.
func (r *Reader) SampleWindow(ctx context.Context, fromMs, untilMs, stepMs int64) (ms int64, err error) {
	var pages, pageBytes int64
	var oldest, newest, slowest sql.NullInt64
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		for _, q := range []struct {
			into  any
			query string
		}{
			{&pages, "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT freelist_count FROM pragma_freelist_count)"},
			{&pageBytes, "PRAGMA page_size"},
			{&oldest, oldestStored},
			{&newest, "SELECT max(timestamp_ms) FROM samples"},
			{&slowest, "SELECT max(interval_ms) FROM status WHERE component LIKE 'collector/%'"},
		} {
			if err := tx.QueryRowContext(ctx, q.query).Scan(q.into); err != nil {
				return fmt.Errorf("read %q: %w", q.query, err)
			}
		}
		return nil
	})
	if err != nil || !oldest.Valid {
		return 0, err
	}
	all := max(newest.Int64-oldest.Int64, 1)
	in := min(untilMs, newest.Int64) - max(fromMs, oldest.Int64)
	rows := float64(pages*pageBytes/rowBytes) * float64(in) / float64(all)
	if rows <= readRows {
		return 0, nil
	}
	const slack = 10_000
	ms = max(int64(float64(stepMs)*readRows/rows), 2*max(slowest.Int64, 60_000)+slack)
	if ms >= stepMs {
		return 0, nil
	}
	return ms, nil
}

// steps are the beginnings of the steps of a time range.
const steps = `WITH RECURSIVE steps(start) AS (SELECT ?1 / ?3 * ?3 UNION ALL SELECT start + ?3 FROM steps WHERE start + ?3 < ?2) `

const sampledLevels = steps + `SELECT series_id, start, min(value), max(value), avg(value) FROM steps CROSS JOIN samples
	ON timestamp_ms >= start AND timestamp_ms < min(start + ?6, ?2)
	WHERE series_id IN (SELECT value FROM json_each(?4)) AND value IS NOT NULL AND ?5
	GROUP BY start, series_id ORDER BY start, series_id`

const sampledRates = steps + `SELECT series_id, start,
		min((v - v0) * 1000.0 / (at - at0)), max((v - v0) * 1000.0 / (at - at0)), sum(v - v0) * 1000.0 / sum(at - at0)
	FROM (SELECT series_id, start, timestamp_ms AS at, value AS v,
			lag(timestamp_ms) OVER w AS at0, lag(value) OVER w AS v0 FROM steps CROSS JOIN samples
		ON timestamp_ms >= start AND timestamp_ms < min(start + ?6, ?2)
		WHERE series_id IN (SELECT value FROM json_each(?4)) AND value IS NOT NULL
		WINDOW w AS (PARTITION BY series_id, start ORDER BY timestamp_ms))
	WHERE v >= v0 AND at - at0 <= ?5
	GROUP BY start, series_id ORDER BY start, series_id`

func (r *Reader) bucketsOf(ctx context.Context, query string, fn func(Bucket), args ...any) error {
	rows, err := r.read.QueryContext(interruptible(ctx), query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b Bucket
		if err := rows.Scan(&b.Series, &b.StartMs, &b.Min, &b.Max, &b.Avg); err != nil {
			return err
		}
		fn(b)
	}
	return rows.Err()
}

// A Latest is the newest sample of a series.
type Latest struct {
	Series
	TimeMs int64
	Value  float64
}

// Latest returns the newest sample of each numeric series that has one from
// sinceMs to untilMs, of up to limit series, in order of name and tags.
func (r *Reader) Latest(ctx context.Context, sinceMs, untilMs int64, limit int) ([]Latest, error) {
	// value is of the row with the maximum: sqlite.org/lang_select.html#bareagg.
	rows, err := r.read.QueryContext(ctx, `SELECT id, metric_name, device_id, tags, at, value FROM
		(SELECT series_id, max(timestamp_ms) AS at, value FROM samples WHERE timestamp_ms BETWEEN ?1 AND ?2 GROUP BY series_id)
		JOIN series ON id = series_id WHERE value_type = 0 AND value IS NOT NULL ORDER BY metric_name, tags, device_id LIMIT ?3`,
		sinceMs, untilMs, limit)
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
