package store

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// mustDeliver marks every pending row with a time below beforeMs as delivered.
func mustDeliver(t testing.TB, db *DB, beforeMs int64) {
	t.Helper()
	rows, err := db.Newest(t.Context(), math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	var of []Row
	for _, r := range rows {
		if r.TimeMs < beforeMs {
			of = append(of, r)
		}
	}
	if n, err := db.Acknowledge(t.Context(), of, Receipt{BatchID: "b", At: time.UnixMilli(beforeMs)}, Update{}); err != nil || n != len(of) {
		t.Fatalf("marked %d of %d, %v", n, len(of), err)
	}
}

// mustBe fails unless the query gives the number.
func mustBe(t testing.TB, db *DB, want int64, query string, args ...any) {
	t.Helper()
	var got sql.NullInt64
	if err := db.read.QueryRow(query, args...).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got.Int64 != want {
		t.Errorf("%s: got %d, want %d", query, got.Int64, want)
	}
}

func TestDeliveredSamplesAreDeletedOldestFirstAndStayInTheLedger(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for at := range int64(100) {
		mustRecord(t, db, Update{Groups: []Group{{Priority: 2, Samples: tick(at*10, 20)}}})
	}
	mustDeliver(t, db, 800)
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(5, 7)}}}) // old and on its way

	var at Sweep
	left, oldest := int64(1600), int64(0)
	done := false
	for range 10 {
		var n int
		var err error
		n, done, err = db.DeleteDelivered(t.Context(), &at, 600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n > SliceRows {
			t.Errorf("one slice deleted %d rows, want at most %d", n, SliceRows)
		}
		left -= int64(n)
		mustBe(t, db, left, "SELECT count(*) FROM samples WHERE uploaded = 1")
		if left > 400 {
			now := int64(0)
			if err := db.read.QueryRow("SELECT min(timestamp_ms) FROM samples WHERE uploaded = 1").Scan(&now); err != nil || now < oldest {
				t.Errorf("the oldest is now %d, was %d, %v", now, oldest, err)
			}
			oldest = now
		}
		if done {
			break
		}
	}
	if !done {
		t.Error("the sweep has no end")
	}
	mustBe(t, db, 400, "SELECT count(*) FROM samples WHERE uploaded = 1")
	mustBe(t, db, 600, "SELECT min(timestamp_ms) FROM samples WHERE uploaded = 1")
	mustBe(t, db, 407, "SELECT count(*) FROM samples WHERE uploaded = 0")
	if l := mustBalance(t, db); l.Captured != 2007 || l.Delivered != 1600 || l.Lost != 0 {
		t.Errorf("ledger %+v", l)
	}
	// What is delivered behind the sweep is found by the next one.
	mustDeliver(t, db, 10)
	for _, want := range []struct {
		from Sweep
		n    int
	}{{at, 0}, {Sweep{}, 7}} {
		if n, _, err := db.DeleteDelivered(t.Context(), &want.from, 600, nil); err != nil || n != want.n {
			t.Errorf("deleted %d, %v; want %d", n, err, want.n)
		}
	}
}

func TestASweepLeavesOutTheTimesThatAreKept(t *testing.T) {
	for _, keep := range [][]Span{
		{{0, 0}}, {{0, 990}}, {{-5, 2000}}, {{100, 190}, {400, 405}, {990, 990}}, {{0, 90}, {100, 190}}, {{595, 605}}, {{600, 700}},
	} {
		db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
		for at := range int64(100) {
			mustRecord(t, db, Update{Groups: []Group{{Priority: 2, Samples: tick(at*10, 20)}}})
		}
		mustDeliver(t, db, 2000)
		var at Sweep
		for calls, done := 0, false; !done; calls++ {
			var err error
			if _, done, err = db.DeleteDelivered(t.Context(), &at, 600, keep); err != nil || calls > 100 {
				t.Fatal(calls, err)
			}
		}
		for ms := int64(0); ms < 1000; ms += 10 {
			want := int64(20)
			if ms < 600 && !slices.ContainsFunc(keep, func(k Span) bool { return k.FromMs <= ms && ms <= k.ToMs }) {
				want = 0
			}
			mustBe(t, db, want, fmt.Sprintf("SELECT count(*) FROM samples WHERE timestamp_ms = %d", ms))
		}
	}
}

func TestHistoryIsTrimmedToANumberAndAnAge(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	trim := func(beforeMs int64) {
		t.Helper()
		for range 100 {
			n, err := db.TrimHistory(t.Context(), beforeMs)
			if err != nil {
				t.Fatal(err)
			}
			if n > 2*SliceRows {
				t.Errorf("%d rows in one slice", n)
			}
			if n == 0 {
				return
			}
		}
		t.Error("no end")
	}
	trim(1) // nothing there
	_, err := db.write.Exec(`
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
		INSERT INTO upload_checkpoints (id, batch_id, chunk_index, upload_time) SELECT i, 'b', 0, i * 1000 FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
		INSERT INTO sessions (num, id, start_time) SELECT i, 's' || i, i FROM n;
		INSERT INTO series VALUES (1, 'k', 'n', 'd', '', 0);
		INSERT INTO samples (timestamp_ms, series_id, value, session, uploaded) VALUES (7, 1, 1, 77, 3), (8, 1, 1, 78, 0)`)
	if err != nil {
		t.Fatal(err)
	}
	trim(0)
	mustBe(t, db, 2001, "SELECT min(id) FROM upload_checkpoints")
	mustBe(t, db, 1001, "SELECT count(*) FROM sessions")
	mustBe(t, db, 1, "SELECT count(*) FROM sessions WHERE num = 77")
	trim(11_000_000)
	mustBe(t, db, 11000, "SELECT min(id) FROM upload_checkpoints")
	trim(math.MaxInt64)
	mustBe(t, db, 12000, "SELECT id FROM upload_checkpoints")
	if s, err := db.Snapshot(t.Context()); err != nil || s.DeliveryMs != 12_000_000 {
		t.Errorf("last delivery %d, %v", s.DeliveryMs, err)
	}
}

func TestFreedPagesAreUsedAgainAndCanBeReturned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	fill := func(from int64) {
		for at := from; at < from+60; at++ {
			mustRecord(t, db, Update{Groups: []Group{{Samples: tick(at, 400)}}})
		}
	}
	empty := func() {
		var at Sweep
		for done := false; !done; {
			var err error
			if _, done, err = db.DeleteDelivered(t.Context(), &at, math.MaxInt64, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	room := func() PageUse {
		r, err := db.PageUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	fill(1000)
	full := room()
	mustDeliver(t, db, math.MaxInt64)
	empty()
	if r := room(); r.Used() > full.Used()/5 || r.Pages < full.Pages {
		t.Errorf("emptied: %+v; full: %+v", r, full)
	}
	fill(2000)
	if r := room(); r.Pages > full.Pages+full.Pages/20 {
		t.Errorf("filled again: %+v; the first time: %+v", r, full)
	}
	mustDeliver(t, db, math.MaxInt64)
	empty()
	for {
		before := room()
		n, err := db.ReturnPages(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if after := room(); before.Pages-after.Pages < int64(n) || n < int(min(100, before.FreePages))/2 || n > 100 {
			t.Fatalf("%d pages returned: %+v, then %+v", n, before, after)
		}
	}
	if c, err := db.Checkpoint(t.Context(), 0); err != nil || c.Busy {
		t.Fatal(c, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if r := room(); info.Size() != r.Pages*r.PageSize || info.Size() > full.Used()/5 {
		t.Errorf("the file has %d bytes, was %d; %+v", info.Size(), full.Used(), r)
	}
	var check string
	if err := db.read.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Error(check, err)
	}
}
