package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// The stock is what a board has after a while, in tables three levels deep, all
// of it in the file and none in the WAL: samples in every state, receipts, pages
// that were freed and used again, and pages that are still free.
const (
	stockTicks  = 1400
	stockSeries = 40
	oldTicks    = 300 // are deleted again
	pageSize    = 1024
)

// A key is that of a sample.
type key struct{ at, series int64 }

// A stock is a database, and what is in it.
type stock struct {
	file    []byte
	rows    map[key]string // value, session, state and priority
	deleted map[key]string // were there before
	ledger  store.Ledger
	names   map[int64]string // of the series
	pageOf  map[key]uint32   // the page of each row
	root    uint32           // of samples
	upper   []uint32         // the other upper pages of samples
}

func mustStock(t testing.TB) stock {
	t.Helper()
	s, err := makeStock()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var makeStock = sync.OnceValues(func() (s stock, err error) {
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "stock.db")
	s.rows, s.deleted, s.ledger, err = fillStock(context.Background(), path)
	if err == nil {
		s.file, err = os.ReadFile(path)
	}
	if err == nil {
		s.names, err = readNames(path)
	}
	if err == nil {
		err = s.findPages(path)
	}
	return s, err
})

// findPages notes where each row is, by what SQLite itself says of the file.
func (s *stock) findPages(path string) error {
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'samples'").Scan(&s.root); err != nil {
		return err
	}
	s.pageOf = map[key]uint32{}
	scan := scanner{pages: newPages(newDevice(bytes.NewReader(s.file), int64(len(s.file))), newDevice(nil, 0))}
	var down func(number uint32, depth int)
	deepest := 0
	down = func(number uint32, depth int) {
		deepest = max(deepest, depth)
		at := pageStart(number)
		p := page{number, pageSize, s.file[at : at+pageSize]}
		for _, one := range scan.readSamples(p, func(*sample) bool { return true }) {
			s.pageOf[key{one.at, int64(one.series)}] = number
		}
		if p.kind() != indexInterior {
			return
		}
		if number != s.root {
			s.upper = append(s.upper, number)
		}
		for _, cell := range p.cells(nil) {
			down(binary.BigEndian.Uint32(p.data[cell:]), depth+1)
		}
		down(binary.BigEndian.Uint32(p.data[8:]), depth+1)
	}
	down(s.root, 1)
	if deepest < 3 || len(s.rows) < 50_000 || len(s.pageOf) != len(s.rows) {
		return fmt.Errorf("the stock is %d levels deep and has %d rows, %d of them in the tree", deepest, len(s.rows), len(s.pageOf))
	}
	return nil
}

func fillStock(ctx context.Context, path string) (rows, deleted map[key]string, l store.Ledger, err error) {
	fail := func(err error) (map[key]string, map[key]string, store.Ledger, error) { return nil, nil, l, err }
	db, err := store.Open(ctx, path, store.Options{Device: "board-1", Synchronous: "NORMAL"})
	if err != nil {
		return fail(err)
	}
	defer db.Close()
	if err := db.StartSession(ctx, store.Session{ID: "s-1", Start: time.UnixMilli(1), Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		return fail(err)
	}
	const first = 1_700_000_000_000
	deleted = map[key]string{}
	deliver := func(before int) error {
		return execute(path,
			fmt.Sprintf("UPDATE ledger SET count = count + (SELECT count(*) FROM samples WHERE uploaded = 0 AND timestamp_ms < %d) WHERE name = 'delivered'", first+before*10_000),
			fmt.Sprintf("UPDATE samples SET uploaded = 1 WHERE uploaded = 0 AND timestamp_ms < %d", first+before*10_000),
			"INSERT INTO upload_checkpoints (batch_id, chunk_index, last_uploaded_id, upload_time, metrics_count) SELECT 'batch', count(*), 1, 2, 3 FROM upload_checkpoints")
	}
	remove := func(before int) error {
		was, err := readRows(path)
		if err != nil {
			return err
		}
		maps.Copy(deleted, was)
		return execute(path, fmt.Sprintf("DELETE FROM samples WHERE uploaded = 1 AND timestamp_ms < %d", first+before*10_000))
	}
	for i := range oldTicks + stockTicks {
		u := store.Update{Groups: []store.Group{{Priority: i % 4, Samples: tick(int64(first + i*10_000))}}}
		if i%100 == 0 {
			u.Counters = []metric.Count{{Name: "c", Value: float64(i)}}
			u.Status = []status.Row{{Component: "collector", Daemon: "metrics-collector", State: status.Running, Detail: fmt.Sprintf(`{"long":%q}`, make([]byte, 1000))}}
		}
		if _, err = db.Record(ctx, u); err == nil && i == oldTicks {
			err = deliver(oldTicks)
		}
		if err == nil && i == oldTicks {
			err = remove(oldTicks)
		}
		if err == nil && i%200 == 0 {
			err = deliver(i / 2)
		}
		if err != nil {
			return fail(err)
		}
	}
	if _, err := db.Record(ctx, store.Update{HoldAll: true, Groups: []store.Group{{Priority: 2, Samples: tick(5000)}}}); err != nil {
		return fail(err)
	}
	if err := remove(oldTicks + 60); err != nil { // their pages stay free
		return fail(err)
	}
	if c, err := db.Checkpoint(ctx, 0); err != nil || c.Busy {
		return fail(fmt.Errorf("checkpoint: %+v, %w", c, err))
	}
	if l, err = storetest.Audit(ctx, db); err != nil {
		return fail(err)
	}
	if rows, err = readRows(path); err != nil {
		return fail(err)
	}
	for k := range rows {
		delete(deleted, k)
	}
	return rows, deleted, l, nil
}

// tick is what one round of collecting gives.
func tick(at int64) []metric.Sample {
	samples := make([]metric.Sample, stockSeries)
	for i := range samples {
		samples[i] = metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", fmt.Sprint(i)), TimeMs: at, Value: float64(i) + float64(at/10_000%1000)/8}
	}
	return samples
}
