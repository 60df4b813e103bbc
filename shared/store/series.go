package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/taniwha3/thugshells/shared/metric"
)

// The value types of a series.
const (
	typeNumber = 0
	typeText   = 1
)

// maxSeries is where the number that metrics.id makes of time and series would
// overflow into the time.
const maxSeries = 1<<20 - 1

var errManySeries = fmt.Errorf("more than %d series in one database", maxSeries)

// A Series is the identity of samples. It never changes once it is stored.
type Series struct {
	ID     int64
	Name   string // stored, dotted name
	Device string
	Tags   string // canonical JSON object of strings, or ""
	Type   int    // 0 number, 1 text

	era int // of the cache when it was read
}

// seriesKey is the sha256, in hex, of the identity as a JSON array. JSON keeps
// the parts apart whatever they contain. The session is not part of it: a
// restart must not make a new series.
func seriesKey(name, device, tags string, valueType int) string {
	buf := []byte{'['}
	buf = metric.AppendJSONString(buf, name)
	buf = metric.AppendJSONString(append(buf, ','), device)
	buf = metric.AppendJSONString(append(buf, ','), tags)
	buf = fmt.Appendf(buf, ",%d]", valueType)
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:])
}

// seriesCache remembers the series seen by this process: by identity for
// inserting, by id for reading. There are as many as a board has collectors,
// interfaces and disks, some hundreds.
type seriesCache struct {
	mu   sync.Mutex
	era  int // counts the files: what was read from an earlier one is no longer true
	byID map[int64]*Series
	byIt map[identity]*Series
}

type identity struct{ name, device, tags string }

func (c *seriesCache) add(s *Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.era != c.era {
		return
	}
	if c.byID == nil {
		c.byID, c.byIt = map[int64]*Series{}, map[identity]*Series{}
	}
	c.byID[s.ID] = s
	if s.Type == typeNumber {
		c.byIt[identity{s.Name, s.Device, s.Tags}] = s
	}
}

// now is the era to give to a series that is about to be read.
func (c *seriesCache) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.era
}

// forget empties the cache, as another file has other numbers.
func (c *seriesCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	c.byID, c.byIt = nil, nil
}

// all returns every series that is known.
func (c *seriesCache) all() map[int64]*Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byID)
}

func (c *seriesCache) find(it identity) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byIt[it]
}

func (c *seriesCache) get(id int64) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}

// seriesOf returns the series of a numeric sample, and whether it was stored by
// this transaction; the caller adds a new one to the cache after the commit.
func (db *DB) seriesOf(ctx context.Context, tx *sql.Tx, name, tags string) (s *Series, isNew bool, err error) {
	it := identity{name, db.opts.Device, tags}
	if s := db.series.find(it); s != nil {
		return s, false, nil
	}
	era := db.series.now()
	id, err := putSeries(ctx, tx, it, typeNumber)
	if err != nil {
		return nil, false, err
	}
	return &Series{ID: id, Name: name, Device: it.device, Tags: tags, era: era}, true, nil
}

// putSeries returns the id of an identity, storing it if it is new.
func putSeries(ctx context.Context, tx *sql.Tx, it identity, valueType int) (id int64, err error) {
	key := seriesKey(it.name, it.device, it.tags, valueType)
	err = tx.QueryRowContext(ctx, "SELECT id FROM series WHERE series_key = ?", key).Scan(&id)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	// The new id is one more than the greatest.
	err = tx.QueryRowContext(ctx, `INSERT INTO series (series_key, metric_name, device_id, tags, value_type)
		SELECT ?, ?, ?, ?, ? WHERE coalesce((SELECT max(id) FROM series), 0) < ? RETURNING id`,
		key, it.name, it.device, it.tags, valueType, maxSeries).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = errManySeries
	}
	if err != nil {
		return 0, fmt.Errorf("store series %s%s: %w", it.name, it.tags, err)
	}
	return id, nil
}

// lookUpSeries returns the series with the given id, from the cache or the
// database.
func (r *Reader) lookUpSeries(ctx context.Context, id int64) (*Series, error) {
	if s := r.series.get(id); s != nil {
		return s, nil
	}
	s := &Series{ID: id, era: r.series.now()}
	err := r.read.QueryRowContext(ctx, "SELECT metric_name, device_id, tags, value_type FROM series WHERE id = ?", id).
		Scan(&s.Name, &s.Device, &s.Tags, &s.Type)
	if err != nil {
		return nil, fmt.Errorf("read series %d: %w", id, err)
	}
	r.series.add(s)
	return s, nil
}
