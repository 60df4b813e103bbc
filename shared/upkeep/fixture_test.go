package upkeep

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

type fixture struct {
	*Keeper
	t    *testing.T
	path string
	log  bytes.Buffer
	at   int64 // time of the next tick
}

func newFixture(t *testing.T, change func(*config.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "metrics.db"), at: time.Now().Add(-30 * 24 * time.Hour).UnixMilli()}
	db, err := store.Open(t.Context(), f.path, store.Options{Device: "d", Synchronous: "NORMAL", Owner: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	c := config.Default()
	c.Storage.MinFreeMB = 0
	change(&c)
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	f.Keeper = New(db, c, status.Daemon{Name: "metrics-collector", Started: time.Now()}, log)
	f.TrimKept = repair.New(db, log).TrimKept
	return f
}

// collect stores ticks of 60 samples of priorities 1 to 3, ten seconds apart.
func (f *fixture) collect(ticks int) {
	f.t.Helper()
	for range ticks {
		var groups []store.Group
		for p := 1; p <= 3; p++ {
			g := store.Group{Priority: p}
			for i := range 20 {
				g.Samples = append(g.Samples, metric.Sample{Name: "m", Tags: metric.Tags("i", fmt.Sprint(p, i)), TimeMs: f.at, Value: float64(f.at%9973) / 8})
			}
			groups = append(groups, g)
		}
		if _, err := f.db.Record(f.t.Context(), store.Update{Groups: groups}); err != nil {
			f.t.Fatal(err)
		}
		f.at += 10_000
	}
}

// deliver marks the n newest pending samples.
func (f *fixture) deliver(n int) {
	f.t.Helper()
	rows, err := storetest.Newest(f.t.Context(), f.db, n)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.db.Acknowledge(f.t.Context(), rows, store.Receipt{BatchID: "b", At: time.Now()}, store.Update{}); err != nil {
		f.t.Fatal(err)
	}
}

// steps runs the keeper until nothing is left to do.
func (f *fixture) steps() {
	f.t.Helper()
	for range 10000 {
		next, err := f.Step(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if next == idleEvery {
			return
		}
	}
	f.t.Fatal("no end of the work")
}

func (f *fixture) count(query string, args ...any) (n int64) {
	f.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+f.path+"?mode=ro")
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	var got sql.NullInt64
	if err := db.QueryRow(query, args...).Scan(&got); err != nil {
		f.t.Fatal(err)
	}
	return got.Int64
}

// total is what the database takes on disk.
func (f *fixture) total() int64 {
	f.t.Helper()
	s, err := f.db.Sizes()
	if err != nil {
		f.t.Fatal(err)
	}
	return s.Database + s.WAL
}

// ledger returns the ledger, and fails unless it agrees with the rows.
func (f *fixture) ledger() (store.Ledger, map[string]int64) {
	f.t.Helper()
	l, losses, err := f.db.Ledger(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 0"); n != l.Pending {
		f.t.Errorf("%d rows are pending, the ledger says %d: %+v", n, l.Pending, l)
	}
	by := map[string]int64{}
	for _, loss := range losses {
		by[loss.Reason] = loss.Count
	}
	return l, by
}

func (f *fixture) detail() map[string]any {
	f.t.Helper()
	all, err := f.db.Statuses(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == "storage" {
			detail := map[string]any{}
			if err := json.Unmarshal([]byte(s.Detail), &detail); err != nil {
				f.t.Fatal(err)
			}
			return detail
		}
	}
	f.t.Fatal("no status of the storage")
	return nil
}

// trimmable stores that many sessions more than are kept.
func (f *fixture) trimmable(t *testing.T, more int) {
	t.Helper()
	f.exec(t, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO sessions (id, start_time) SELECT 's' || i, i FROM n`, 1000+more))
}

func (f *fixture) exec(t *testing.T, query string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}
