package store

import (
	"context"
	"database/sql"
	"fmt"
)

func (c *seriesCache) setLimit(l SeriesLimit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = l
}

func (c *seriesCache) inUse() (use SeriesUse, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return SeriesUse{c.taken, c.refused}, c.known
}

func (c *seriesCache) setUse(taken SeriesLimit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken, c.known = taken, true
}

// recount makes the next caller of SeriesUse count the series: a transaction that
// may have added some failed.
func (c *seriesCache) recount() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = false
}

// admit says whether a new series may be stored, and counts it. Self-metrics have
// few series, which may always be stored.
func (c *seriesCache) admit(it identity, self bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := it.bytes()
	if !self && (c.limit.Count > 0 && c.taken.Count >= c.limit.Count || c.limit.Bytes > 0 && c.taken.Bytes+size > c.limit.Bytes) {
		c.refused++
		return false
	}
	c.taken.Count++
	c.taken.Bytes += size
	return true
}

// A SeriesLimit bounds the series of one database; 0: no bound.
type SeriesLimit struct {
	Count int64
	Bytes int64 // of the table and its index, about
}

// A SeriesUse is how many series there are, and the samples that were refused
// because of the limit.
type SeriesUse struct {
	SeriesLimit
	Refused int64 // samples of new series, by this process
}

// LimitSeries sets the limit at which Record stores no samples of new series.
// Samples of known series and self-metrics are always stored.
func (db *DB) LimitSeries(l SeriesLimit) { db.series.setLimit(l) }

// SeriesUse returns how many series there are. It counts them if another process
// may have added or deleted some since they were counted.
func (db *DB) SeriesUse(ctx context.Context) (use SeriesUse, err error) {
	if use, ok := db.series.inUse(); ok {
		return use, nil
	}
	err = db.tx(ctx, func(tx *sql.Tx) error { return db.countSeries(ctx, tx) })
	use, _ = db.series.inUse()
	return use, err
}

func (db *DB) countSeries(ctx context.Context, tx *sql.Tx) error {
	if err := db.syncSeries(ctx, tx); err != nil {
		return err
	}
	if _, ok := db.series.inUse(); ok {
		return nil
	}
	var count, text int64
	err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(octet_length(metric_name) + octet_length(device_id) + octet_length(tags)), 0)
		FROM series`).Scan(&count, &text)
	if err != nil {
		return fmt.Errorf("count the series: %w", err)
	}
	db.series.setUse(SeriesLimit{Count: count, Bytes: seriesBytes(count, text)})
	return nil
}

// seriesBytes is about what series take: their texts, the key in the table and in
// its index, and the free quarter of each page.
func seriesBytes(count, text int64) int64 {
	const keyTwice, around = 2 * 64, 40
	return (text + count*(keyTwice+around)) * 4 / 3
}

// bytes is about what the identity takes in the table and its index.
func (it identity) bytes() int64 {
	return seriesBytes(1, int64(len(it.name)+len(it.device)+len(it.tags)))
}
