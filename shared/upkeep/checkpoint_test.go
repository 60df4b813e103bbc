package upkeep

import (
	"database/sql"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

func TestAReaderThatPinsTheWALIsReportedAndSurvived(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB = 1 })
	f.collect(10)
	other, err := sql.Open("sqlite3", "file:"+f.path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM samples").Scan(&n); err != nil {
		t.Fatal(err)
	}
	f.collect(10)
	for range 3 {
		f.due = time.Now()
		f.steps()
	}
	d := f.detail()
	if since, _ := d["checkpoint_busy_since_ms"].(float64); math.Abs(since-float64(time.Now().UnixMilli())) > 60_000 {
		t.Errorf("the status does not say since when: %v", d)
	}
	if f.busyTries != 3 || strings.Count(f.log.String(), "prevents the checkpoint from finishing") != 3 || !strings.Contains(f.log.String(), "busy_for=") {
		t.Errorf("%d tries counted; log: %s", f.busyTries, f.log.String())
	}
	// Over the bound: deleting would make the WAL longer, so no sample is lost.
	for used, rounds := int64(0), 0; used < miB && rounds < 30; rounds++ {
		f.collect(50)
		f.steps()
		room, err := f.db.PageUse(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		used = room.Used()
	}
	if l, lost := f.ledger(); l.Lost != 0 {
		t.Errorf("lost because of a reader: %v", lost)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	f.due = time.Now()
	f.steps()
	f.due = time.Now()
	f.steps()
	if d := f.detail(); d["checkpoint_busy_since_ms"] != nil || !f.busySince.IsZero() {
		t.Errorf("still busy: %v", d)
	}
	if f.total() > miB {
		t.Errorf("%d bytes after the reader left, bound %d", f.total(), miB)
	}
}

func TestADatabaseThatIsNotOpenYetIsAwaitedWithoutMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := store.New(path, store.Options{Device: "d"})
	defer db.Close()
	k := New(db, config.Default(), status.Daemon{Name: "metrics-collector", Started: time.Now()}, slog.New(slog.DiscardHandler))
	if next, err := k.Step(t.Context()); next != openEvery || err != nil {
		t.Errorf("before it is open: next in %s, %v", next, err)
	}
	if err := repair.Reopen(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Step(t.Context()); err != nil {
		t.Error(err)
	}
	if all, err := db.Statuses(t.Context()); err != nil || len(all) != 1 || all[0].Component != "storage" || all[0].FailingSinceMs != 0 {
		t.Errorf("statuses %+v, %v", all, err)
	}
	// Once it was open, its loss is logged once.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := k.Step(t.Context())
	if err == nil || strings.Count(err.Error(), "database is closed") != 1 {
		t.Errorf("closed: %v", err)
	}
}

func TestAStopLeavesAnEmptyWALAndRecordsIt(t *testing.T) {
	f := newFixture(t, func(*config.Config) {})
	f.collect(10)
	f.steps()
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := f.db.Sizes(); err != nil || s.WAL != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if n := f.count("SELECT count(*) FROM status WHERE component = 'storage' AND state = 'stopped'"); n != 1 {
		t.Error("the status says that it still runs")
	}
	if n := f.count("SELECT count(*) FROM metrics WHERE metric_name LIKE 'storage.%'"); n < 5 {
		t.Errorf("%d samples about the storage", n)
	}
}

func TestTheSizeLimitIsDividedBetweenRowsAndWAL(t *testing.T) {
	const mb = miB
	for _, c := range []struct {
		name                  string
		db, wal, free, want   int64
		maxSize, logSize      int64
		limit, walLimit, kept int64
		reason                string
		short                 int64
	}{
		{"defaults", 10 * mb, mb, 99999 * mb, 512 * mb, 256 * mb, 64 * mb, 192 * mb, 64 * mb, 16 * mb, status.LostSizeLimit, 0},
		{"no look at the space", 10 * mb, mb, 0, 0, 256 * mb, 64 * mb, 192 * mb, 64 * mb, 16 * mb, status.LostSizeLimit, 0},
		{"small", mb, mb, 99999 * mb, 512 * mb, 8 * mb, 64 * mb, 6 * mb, 2 * mb, mb, status.LostSizeLimit, 0},
		{"space for some more", 10 * mb, 6 * mb, 600 * mb, 512 * mb, 256 * mb, 64 * mb, 100 * mb, 64 * mb, 16 * mb, status.LostLowSpace, 0},
		{"just enough", 100 * mb, 4 * mb, 512 * mb, 512 * mb, 256 * mb, 64 * mb, 100 * mb, 64 * mb, 16 * mb, status.LostLowSpace, 0},
		{"short", 100 * mb, 4 * mb, 500 * mb, 512 * mb, 256 * mb, 64 * mb, 88 * mb, 4 * mb, 2 * mb, status.LostLowSpace, 12 * mb},
		{"the same, once returned", 88 * mb, 4 * mb, 512 * mb, 512 * mb, 256 * mb, 64 * mb, 88 * mb, 64 * mb, 16 * mb, status.LostLowSpace, 0},
		{"of an old file", 100 * mb, 4 * mb, 500 * mb, 512 * mb, 256 * mb, 64 * mb, 100 * mb, 4 * mb, 2 * mb, status.LostLowSpace, 12 * mb},
		{"nothing free", 100 * mb, 4 * mb, 0, 512 * mb, 256 * mb, 64 * mb, 32 * mb, 4 * mb, 2 * mb, status.LostLowSpace, 512 * mb},
	} {
		f := figures{sizes: store.Sizes{Database: c.db, WAL: c.wal}, free: c.free, want: c.want}
		f.room = store.PageUse{PageSize: 1024, Pages: c.db / 1024, Returnable: c.name != "of an old file"}
		f.decide(c.maxSize, c.logSize)
		got := []any{f.limit / mb, f.walLimit / mb, f.walKept / mb, f.reason, f.short() / mb}
		want := []any{c.limit / mb, c.walLimit / mb, c.kept / mb, c.reason, c.short / mb}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
