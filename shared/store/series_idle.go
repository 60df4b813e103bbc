package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	// surveyRows bounds the samples that one call of Survey reads, and idleSlice
	// the series that one call of DeleteIdle deletes: each costs a page of the
	// index, because their keys are random.
	surveyRows = 5000
	idleSlice  = 100
)

// A Survey is a walk over all samples that finds which series have any. Samples
// may be stored at times that it has passed. So a series is also in use if this
// process used it since the survey began, or if it is in the table series_used,
// which has the series of other processes. The zero value is a survey's start.
type Survey struct {
	at     Sweep
	newest []int64 // by series id: 1 + the time of its newest sample; 0: none was found
	used   []bool  // by series id: since the survey began
	next   int64   // the last id that DeleteIdle has seen
	begun  bool
}

// entry returns the element of a slice that is indexed by id, and grows the slice.
func entry[T any](of *[]T, id int64) *T {
	if n := int(id) + 1 - len(*of); n > 0 {
		*of = append(*of, make([]T, n)...)
	}
	return &(*of)[id]
}

func (s *Survey) use(id int64) { *entry(&s.used, id) = true }

func (s *Survey) inUse(id int64) bool {
	return int(id) < len(s.newest) && s.newest[id] != 0 || int(id) < len(s.used) && s.used[id]
}

// Oldest returns the time up to which samples have to be deleted for n series to
// have none; ok is false if fewer than n series have samples.
func (s *Survey) Oldest(n int) (untilMs int64, ok bool) {
	var times []int64
	for _, t := range s.newest {
		if t != 0 {
			times = append(times, t-1)
		}
	}
	if n < 1 || len(times) < n {
		return 0, false
	}
	slices.Sort(times)
	return times[n-1], true
}

// Survey reads the next slice of samples; done says that all are read. It begins
// again if samples have moved or another file was opened.
func (db *DB) Survey(ctx context.Context, s *Survey) (done bool, err error) {
	if !s.begun || !db.series.isSurvey(s) {
		*s = Survey{begun: true, at: Sweep{timeMs: math.MinInt64}}
		db.series.beginSurvey(s)
	}
	defer func() { err = db.guard.observe(err) }()
	last := Sweep{timeMs: math.MaxInt64, seriesID: math.MaxInt64}
	err = db.read.QueryRowContext(ctx, surveyEnd, s.at.timeMs, s.at.seriesID, surveyRows-1).Scan(&last.timeMs, &last.seriesID)
	if done = errors.Is(err, sql.ErrNoRows); err != nil && !done {
		return false, fmt.Errorf("find series without samples: %w", err)
	}
	rows, err := db.read.QueryContext(ctx, surveySlice, s.at.timeMs, s.at.seriesID, last.timeMs, last.seriesID)
	if err != nil {
		return false, fmt.Errorf("find series without samples: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, at int64
		if err := rows.Scan(&id, &at); err != nil {
			return false, fmt.Errorf("find series without samples: %w", err)
		}
		if id >= 0 && id <= MaxSeries {
			newest := entry(&s.newest, id)
			*newest = max(*newest, at+1)
		}
	}
	s.at = last
	return done, rows.Err()
}

const (
	surveyEnd = `SELECT timestamp_ms, series_id FROM samples WHERE (timestamp_ms, series_id) > (?, ?)
		ORDER BY timestamp_ms, series_id LIMIT 1 OFFSET ?`
	surveySlice = `SELECT series_id, max(timestamp_ms) FROM samples
		WHERE (timestamp_ms, series_id) > (?1, ?2) AND (timestamp_ms, series_id) <= (?3, ?4) GROUP BY series_id`
	idleSeries = `SELECT id, octet_length(metric_name) + octet_length(device_id) + octet_length(tags) FROM series
		WHERE id > ? AND NOT EXISTS (SELECT 1 FROM series_used WHERE series_id = series.id) ORDER BY id LIMIT ?`
)

// DeleteIdle deletes a slice of the series for which a complete survey found no
// sample and no use. Done says that all series were checked, or that the survey is
// no longer valid.
func (db *DB) DeleteIdle(ctx context.Context, s *Survey) (deleted int, done bool, err error) {
	if !db.series.isSurvey(s) {
		return 0, true, nil
	}
	next := s.next
	err = db.tx(ctx, func(tx *sql.Tx) error {
		var ids []int64
		var texts map[int64]int64
		if ids, texts, err = seriesAfter(ctx, tx, s.next, SliceRows); err != nil {
			return err
		}
		done = len(ids) < SliceRows
		idle := db.series.idle(s, ids)
		if len(idle) > idleSlice {
			idle, done = idle[:idleSlice], false
			next = idle[idleSlice-1]
		} else if len(ids) > 0 {
			next = ids[len(ids)-1]
		}
		if deleted = len(idle); deleted == 0 {
			return nil
		}
		list, err := json.Marshal(idle)
		if err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx, "DELETE FROM series WHERE id IN (SELECT value FROM json_each(?))", string(list)))
		if err != nil {
			return err
		}
		if n != deleted {
			return fmt.Errorf("%d of %d series were deleted; the transaction is undone", n, deleted)
		}
		var text int64
		for _, id := range idle {
			text += texts[id]
		}
		return db.nextGeneration(ctx, tx, idle, seriesBytes(int64(deleted), text))
	})
	if err != nil {
		db.series.recount()
		return 0, false, fmt.Errorf("delete series without samples: %w", err)
	}
	s.next = next
	if done {
		db.series.endSurvey()
	}
	return deleted, done, nil
}

// seriesAfter returns the ids of series that no other process uses, in order, and
// the length of their texts.
func seriesAfter(ctx context.Context, tx *sql.Tx, after int64, limit int) (ids []int64, texts map[int64]int64, err error) {
	rows, err := tx.QueryContext(ctx, idleSeries, after, limit)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	texts = map[int64]int64{}
	for rows.Next() {
		var id, text int64
		if err := rows.Scan(&id, &text); err != nil {
			return nil, nil, err
		}
		ids, texts[id] = append(ids, id), text
	}
	return ids, texts, rows.Err()
}

// nextGeneration makes every process empty its cache of series, as some are
// deleted.
func (db *DB) nextGeneration(ctx context.Context, tx *sql.Tx, ids []int64, bytes int64) error {
	g, err := generationOf(ctx, tx)
	if err != nil {
		return err
	}
	db.series.sync(g)
	g = (g + 1) & math.MaxInt32
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", g)); err != nil {
		return fmt.Errorf("write the generation of the series: %w", err)
	}
	db.series.remove(ids, bytes, g)
	return nil
}

// unuseSeries empties the table series_used. With the next generation, the other
// processes look up their series again and write those that they still use.
func (db *DB) unuseSeries(ctx context.Context, tx *sql.Tx) error {
	n, err := affected(tx.ExecContext(ctx, "DELETE FROM series_used"))
	if err != nil || n == 0 {
		return err
	}
	return db.nextGeneration(ctx, tx, nil, 0)
}
