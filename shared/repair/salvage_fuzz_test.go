package repair

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// smallStock is a database of a few hundred samples in every state, half of it
// in its WAL.
var smallStock = sync.OnceValues(func() (files [len(parts)][]byte, err error) {
	return filesOf(func(ctx context.Context, db *store.DB) (err error) {
		for i := 0; i < 60 && err == nil; i++ {
			_, err = db.Record(ctx, store.Update{HoldAll: i < 3, Groups: []store.Group{{Priority: i % 4, Samples: tick(int64(1_700_000_000_000+i*10_000), 8)}}})
			switch {
			case err != nil:
			case i == 20:
				var rows []store.Row
				if rows, err = storetest.Newest(ctx, db, 50); err == nil {
					_, err = db.Acknowledge(ctx, rows[:40], store.Receipt{BatchID: "x"}, store.Update{})
				}
				if err == nil {
					_, err = db.Reject(ctx, []store.Rejection{{Row: rows[45], Reason: "no"}}, time.UnixMilli(5), store.Update{})
				}
			case i == 30:
				_, err = db.Checkpoint(ctx, 0)
			}
		}
		return err
	})
})

// pageRows are the most samples of a page.
const pageRows = 60

type fuzzRow struct{ at, series int64 }

// readableSeries returns the ids of series that are what their key says.
func readableSeries(ctx context.Context, read *sql.DB) map[int64]bool {
	good := map[int64]bool{}
	for _, way := range []string{"ASC", "DESC"} {
		rows, err := read.QueryContext(ctx, "SELECT id, series_key, metric_name, device_id, tags, value_type FROM series NOT INDEXED ORDER BY id "+way)
		if err != nil {
			continue
		}
		for rows.Next() {
			var one store.Series
			var key string
			if rows.Scan(&one.ID, &key, &one.Name, &one.Device, &one.Tags, &one.Type) != nil {
				break
			}
			good[one.ID] = key == store.SeriesKey(one)
		}
		rows.Close()
	}
	return good
}

// readableRows returns the rows that a plain reading from either end comes to,
// those that make sense, with their values and states.
func readableRows(ctx context.Context, path string) map[fuzzRow]string {
	read, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		return nil
	}
	defer read.Close()
	read.SetMaxOpenConns(1)
	read.ExecContext(ctx, "PRAGMA cell_size_check=ON")
	found := map[fuzzRow]string{}
	known := readableSeries(ctx, read)
	for _, way := range []string{"ASC", "DESC"} {
		rows, err := read.QueryContext(ctx, strings.ReplaceAll(`SELECT timestamp_ms, series_id, value, uploaded FROM samples NOT INDEXED
			WHERE typeof(timestamp_ms) = 'integer' AND timestamp_ms BETWEEN 0 AND 1 << 43 AND typeof(uploaded) = 'integer' AND typeof(priority) = 'integer'
				AND uploaded BETWEEN 0 AND 4 AND priority BETWEEN 0 AND 3 AND typeof(session) IN ('integer', 'null')
				AND typeof(value) IN ('real', 'integer') AND typeof(value_text) IN ('text', 'null') AND series_id BETWEEN 1 AND 1048575
			ORDER BY timestamp_ms %s, series_id %s`, "%s", way))
		if err != nil {
			continue
		}
		for rows.Next() {
			var r fuzzRow
			var value float64
			var state int64
			if rows.Scan(&r.at, &r.series, &value, &state) != nil {
				break
			}
			if known[r.series] {
				found[r] = fmt.Sprint(state, " ", value)
			}
		}
		rows.Close()
	}
	return found
}

func FuzzADamagedDatabaseIsSalvagedOrRefused(f *testing.F) {
	op := func(file, kind byte, at uint32, length, value byte) []byte {
		return []byte{file, kind, byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24), length, value}
	}
	for file := range byte(2) {
		for kind := range byte(6) {
			f.Add(op(file, kind, 20_000, 100, 0xff))
			f.Add(append(op(file, kind, 5_000, 30, 0), op(1-file, kind, 40_000, 3, 7)...))
		}
		f.Add(op(file, 1, 0, 100, 0))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		stock, err := smallStock()
		if err != nil {
			t.Fatal(err)
		}
		files := sqltest.Damage([2][]byte(stock[:2]), ops[:min(len(ops), 64)])
		path := filepath.Join(t.TempDir(), "metrics.db")
		look := filepath.Join(t.TempDir(), "metrics.db") // reading may change a file
		for i, part := range []string{"", "-wal"} {
			for _, p := range []string{path, look} {
				if err := os.WriteFile(p+part, files[i], 0o640); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		readable := readableRows(ctx, look)

		var log strings.Builder
		db := notYet(t, path, &log)
		for range unreadableLimit + 1 { // what the device cannot read is tried again
			if err = db.Mend(ctx); err == nil || Refused(err) {
				break
			}
		}
		if err != nil {
			if ctx.Err() != nil || !Refused(err) {
				t.Fatalf("neither opened nor refused: %v\n%s", err, log.String())
			}
			for i, part := range []string{"", "-wal"} { // then it is as it was
				if now, err := os.ReadFile(path + part); err != nil || string(now) != string(files[i]) {
					t.Errorf("refused and changed: %s, %v", part, err)
				}
			}
			return
		}
		kept, err := Kept(path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := storetest.Audit(ctx, db)
		if err != nil && len(kept) > 0 {
			t.Fatalf("the ledger of the salvaged database does not balance: %v\n%s", err, log.String())
		}
		if len(kept) == 0 {
			return // nothing was noticed, and nothing was touched
		}
		missing := 0
		for key, value := range readable {
			var now string
			err := query(t, db.Path(), "SELECT uploaded || ' ' || (CASE WHEN value = CAST(value AS INTEGER) THEN CAST(value AS INTEGER) ELSE value END) FROM samples WHERE timestamp_ms = ? AND series_id = ?", key.at, key.series).Scan(&now)
			if errors.Is(err, sql.ErrNoRows) {
				missing++
			} else if err != nil {
				t.Fatal(err)
			} else if strings.HasPrefix(value, "0 ") && now[:1] != "0" {
				t.Errorf("a pending sample is now %q, was %q", now, value)
			}
		}
		// A key that was changed to another, or a page in the place of another, is
		// read by going through all, and not found by its key.
		if missing > pageRows*(len(ops)/8) {
			t.Errorf("%d of %d samples that plain reading finds are gone, %d counted as lost\n%s", missing, len(readable), l.Lost, log.String())
		}
		// Damage that is met later is met twice, and then repaired.
		for range 4 {
			if _, err = db.Record(ctx, store.Update{Groups: []store.Group{{Samples: tick(1_800_000_000_000, 3)}}}); err == nil {
				break
			}
			if mended := db.Mend(ctx); mended != nil {
				t.Fatalf("%v, and then %v\n%s", err, mended, log.String())
			}
		}
		if err != nil {
			t.Errorf("nothing can be stored afterwards: %v\n%s", err, log.String())
		}
	})
}
