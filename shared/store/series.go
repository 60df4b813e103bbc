package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/metric"
)

// The value types of a series.
const (
	typeNumber = 0
	typeText   = 1
)

// idRange is where the search for a free id starts again at 1, while fewer than
// half of these ids are in use: the shipper keeps an array that is indexed by id.
const idRange = 1 << 16

var (
	errManySeries  = fmt.Errorf("more than %d series in one database", MaxSeries)
	errSeriesLimit = errors.New("the limit on the number of series is reached")
)

// A Series is the identity of samples. It never changes once it is stored.
type Series struct {
	ID     int64
	Name   string // stored, dotted name
	Device string
	Tags   string // canonical JSON object of strings, or ""
	Type   int    // 0 number, 1 text

	version int // of the cache, when it was read
}

// seriesKey is the sha256, in hex, of the identity as a JSON array. In JSON two
// identities are never the same text. The session is not part of it: a restart
// must not make a new series.
func seriesKey(name, device, tags string, valueType int) string {
	buf := []byte{'['}
	buf = metric.AppendJSONString(buf, name)
	buf = metric.AppendJSONString(append(buf, ','), device)
	buf = metric.AppendJSONString(append(buf, ','), tags)
	buf = fmt.Appendf(buf, ",%d]", valueType)
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:])
}

type identity struct{ name, device, tags string }

func (s *Series) identity() identity { return identity{s.Name, s.Device, s.Tags} }

// generationOf reads the generation of the series, which grows whenever series are
// deleted: afterwards an id may belong to another identity. It is stored in the
// header of the file, where SQLite has a number for its users.
func generationOf(ctx context.Context, q querier) (g int64, err error) {
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&g); err != nil {
		return 0, fmt.Errorf("read the generation of the series: %w", err)
	}
	return g, nil
}

// syncSeries empties the cache if it is of another generation than the file.
func (db *DB) syncSeries(ctx context.Context, tx *sql.Tx) error {
	g, err := generationOf(ctx, tx)
	if err != nil {
		return err
	}
	db.series.sync(g)
	return nil
}

// seriesOf returns the series of a numeric sample; a new one is stored. isNew says
// that it is not in the cache: the caller adds it after the commit. A transaction
// calls syncSeries first.
func (db *DB) seriesOf(ctx context.Context, tx *sql.Tx, name, tags string, self bool) (s *Series, isNew bool, err error) {
	it := identity{name, db.opts.Device, tags}
	if s := db.series.find(it); s != nil {
		return s, false, nil
	}
	s = &Series{Name: name, Device: it.device, Tags: tags, version: db.series.current()}
	key := seriesKey(it.name, it.device, it.tags, typeNumber)
	err = tx.QueryRowContext(ctx, "SELECT id FROM series WHERE series_key = ?", key).Scan(&s.ID)
	if errors.Is(err, sql.ErrNoRows) {
		if err := db.countSeries(ctx, tx); err != nil {
			return nil, false, err
		}
		if !db.series.admit(it, self) {
			return nil, false, errSeriesLimit
		}
		s.ID, err = insertSeries(ctx, tx, it, key, typeNumber, db.series.nextID())
		db.series.setLastID(s.ID)
	}
	if err != nil {
		return nil, false, fmt.Errorf("store series %s%s: %w", it.name, it.tags, err)
	}
	db.series.use(s.ID)
	if !db.opts.Owner {
		// The collector deletes series and does not know which ones others use.
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO series_used (series_id) VALUES (?)", s.ID); err != nil {
			return nil, false, fmt.Errorf("note the use of series %s%s: %w", it.name, it.tags, err)
		}
	}
	return s, true, nil
}

// insertSeries stores a new identity and returns its id: the first free one from
// next on.
func insertSeries(ctx context.Context, tx *sql.Tx, it identity, key string, valueType int, next int64) (id int64, err error) {
	const free = `SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM series WHERE id = ?1)
		UNION ALL SELECT * FROM (SELECT id + 1 FROM series AS s WHERE id >= ?1 AND id < ?2
			AND NOT EXISTS (SELECT 1 FROM series WHERE id = s.id + 1) ORDER BY id LIMIT 1) LIMIT 1`
	for _, from := range []int64{next, 1} {
		if err = tx.QueryRowContext(ctx, free, from, MaxSeries).Scan(&id); !errors.Is(err, sql.ErrNoRows) {
			break
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errManySeries
	}
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO series (id, series_key, metric_name, device_id, tags, value_type) VALUES (?, ?, ?, ?, ?, ?)",
		id, key, it.name, it.device, it.tags, valueType)
	return id, err
}

// putSeries returns the id of an identity of an earlier schema; a new one is
// stored.
func putSeries(ctx context.Context, tx *sql.Tx, it identity, valueType int) (id int64, err error) {
	key := seriesKey(it.name, it.device, it.tags, valueType)
	err = tx.QueryRowContext(ctx, "SELECT id FROM series WHERE series_key = ?", key).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) + 1 FROM series").Scan(&id)
	if err == nil {
		id, err = insertSeries(ctx, tx, it, key, valueType, id)
	}
	if err != nil {
		return 0, fmt.Errorf("store series %s%s: %w", it.name, it.tags, err)
	}
	return id, nil
}

// SeriesKey is the key under which an identity is stored. No other has the same.
func SeriesKey(s Series) string { return seriesKey(s.Name, s.Device, s.Tags, s.Type) }

// KnownSeries returns the identities that this process has read or stored.
func (r *Reader) KnownSeries() []Series {
	known := r.series.all()
	all := make([]Series, 0, len(known))
	for id, s := range known {
		all = append(all, Series{ID: id, Name: s.Name, Device: s.Device, Tags: s.Tags, Type: s.Type})
	}
	return all
}
