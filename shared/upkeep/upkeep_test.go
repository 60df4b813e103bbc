package upkeep

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// ledger returns the books, and fails unless they agree with the rows.
func (f *fixture) ledger() (store.Ledger, map[string]int64) {
	f.t.Helper()
	l, losses, err := f.db.Ledger(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 0"); n != l.Pending {
		f.t.Errorf("%d rows are pending, the books say %d: %+v", n, l.Pending, l)
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

func TestTheBoundHoldsThroughAnOutageAndWhatGoesIsCounted(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB = 2 })
	most := int64(0)
	for range 120 {
		f.collect(15)
		f.steps()
		most = max(most, f.total())
	}
	if most > 2*miB+100<<10 {
		t.Errorf("the files took %d bytes, bound %d", most, 2*miB)
	}
	if most < miB {
		t.Errorf("the files never took more than %d bytes of %d: too much is deleted", most, 2*miB)
	}
	l, lost := f.ledger()
	if lost[status.LostSizeLimit] == 0 || l.Lost != lost[status.LostSizeLimit] || l.Captured < 120*15*60 {
		t.Errorf("%+v, lost %v", l, lost)
	}
	// The lowest priority is gone before the next one is touched.
	by := [4]int64{}
	for p := range by {
		by[p] = f.count("SELECT count(*) FROM samples WHERE uploaded = 0 AND priority = ?", p)
	}
	if by[1] != 120*15*20 && by[2] != 0 || by[2] != 120*15*20 && by[3] > sliceOfSelf {
		t.Errorf("pending by priority: %v", by)
	}
	if !strings.Contains(f.log.String(), "are deleted and counted as lost") || !strings.Contains(f.log.String(), "room made in the database") {
		t.Errorf("log: %s", f.log.String())
	}
}

// sliceOfSelf is more than the samples that the keeper adds about the storage
// while a test runs.
const sliceOfSelf = 100

func TestDeliveredSamplesGoBeforeAnyPendingOne(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.collect(150)
	f.deliver(6000) // the newest: the older ones are still on their way
	f.at = time.Now().UnixMilli()
	for f.count("SELECT count(*) FROM samples WHERE uploaded = 1") > 0 {
		if _, lost := f.ledger(); lost[status.LostSizeLimit] != 0 {
			t.Fatalf("given up while something delivered was left: %v", lost)
		}
		f.collect(20)
		f.steps()
	}
	if f.settle == 0 {
		t.Error("the samples were not inside a settle window")
	}
}

func TestWhatSettledGoesBeforeWhatWasJustDelivered(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.at = time.Now().Add(-20 * time.Hour).UnixMilli()
	f.collect(100)
	f.deliver(100_000)
	f.exec(t, "UPDATE upload_checkpoints SET upload_time = upload_time - 48 * 3600000")
	border := time.Now().Add(-2 * 24 * time.Hour).UnixMilli()
	f.at = time.Now().Add(-5 * 24 * time.Hour).UnixMilli() // the backlog of an outage
	f.collect(100)
	f.deliver(100_000)
	f.at = time.Now().UnixMilli()
	for f.count("SELECT count(*) FROM samples WHERE uploaded = 1 AND timestamp_ms > ?", border) > 0 {
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1 AND timestamp_ms < ?", border); n != 6000 {
			t.Fatalf("%d are left of 6000 that were delivered just now, while something else is there", n)
		}
		f.collect(20)
		f.steps()
	}
}

func TestWhatIsDeliveredBehindASweepGoesBeforeAnyPendingOne(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 2, 365*24*time.Hour })
	f.collect(200)
	f.deliver(3000)
	fig, err := f.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.evicting, fig.reason = status.LostSizeLimit, status.LostSizeLimit
	for i := range 1000 {
		if i == 2 {
			f.deliver(5000) // of samples that the sweep has passed
		}
		before := f.count("SELECT count(*) FROM samples WHERE uploaded = 1")
		if _, err := f.evict(t.Context(), fig, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, lost := f.ledger(); lost[status.LostSizeLimit] > 0 {
			if before > 0 {
				t.Errorf("%v given up while %d were delivered", lost, before)
			}
			return
		}
	}
	t.Error("nothing was ever given up: the test is void")
}

func TestTheBoundHoldsWhileSamplesAreDeliveredAllTheTime(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB, c.Storage.Retention = 1, 365*24*time.Hour })
	f.collect(700)
	for i := range 400 {
		if i%6 == 0 {
			f.deliver(10)
		}
		if _, err := f.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fig, err := f.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if used := fig.room.Used(); used > fig.limit+fig.limit/64 {
		_, lost := f.ledger()
		t.Errorf("%d bytes are used, at most %d may be; %v", used, fig.limit, lost)
	}
}

func TestNothingAgesByAClockThatIsNotTrusted(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		f := newFixture(t, func(c *config.Config) { c.Storage.Retention, c.Remote.Settle = 168*time.Hour, 24*time.Hour })
		f.at = time.Now().Add(-time.Hour).UnixMilli()
		f.collect(10)
		f.deliver(600)
		f.bootID = "boot"
		ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
		if _, err := f.db.RecordClock(t.Context(), store.Clock{Now: status.Moment{Wall: ahead, Boot: time.Hour}, BootID: "boot", Trusted: trusted, By: map[bool]string{true: "kernel"}[trusted]}); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			var err error
			if more, err = f.age(t.Context(), ahead); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); trusted != (n == 0) {
			t.Errorf("trusted %v: %d of 600 are left", trusted, n)
		}
	}
}

func TestShortOfSpaceTheFileShrinksAndKeepsAnEighth(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.MaxSizeMB = 8 })
	f.collect(2000)
	f.steps()
	before := f.total()
	if l, _ := f.ledger(); l.Lost != 0 || before < 3*miB {
		t.Fatalf("%+v, %d bytes", l, before)
	}
	f.cfg.MinFreeMB = 1 << 30 // more than any disk has
	for _, stamp := range []string{"20260101T000000.000Z", "20260102T000000.000Z", "20260103T000000.000Z"} {
		if err := os.WriteFile(f.path+".damaged-"+stamp, []byte("salvaged long ago"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	f.steps()
	if kept, err := repair.Kept(f.path); err != nil || len(kept) != 1 || !strings.HasSuffix(kept[0], "03T000000.000Z") {
		t.Errorf("kept %v, %v; want only the newest damaged file", kept, err)
	}
	after := f.total()
	if after > miB*5/4 || after < miB/2 {
		t.Errorf("the files have %d bytes, had %d; want about %d", after, before, miB)
	}
	_, lost := f.ledger()
	if lost[status.LostLowSpace] == 0 || lost[status.LostSizeLimit] != 0 {
		t.Errorf("lost %v", lost)
	}
	if d := f.detail(); d["free_bytes_short"] == nil || d["free_bytes"] == nil {
		t.Errorf("the status does not say it: %v", d)
	}
	f.cfg.MinFreeMB = 1
	f.steps()
	if d := f.detail(); d["free_bytes_short"] != nil {
		t.Errorf("the status still says it: %v", d)
	}
	f.collect(100)
	f.steps()
	if _, again := f.ledger(); again[status.LostLowSpace] != lost[status.LostLowSpace] {
		t.Errorf("given up with room enough: %v, before %v", again, lost)
	}
}

func TestOldDeliveredSamplesGoAndUndeliveredStay(t *testing.T) {
	for _, c := range []struct {
		name              string
		retention, settle time.Duration
		want              int64 // delivered rows left
	}{
		{"retention", time.Hour, 0, 0},
		{"settling", time.Hour, 60 * 24 * time.Hour, 600},
		{"young", 60 * 24 * time.Hour, 0, 600},
		{"old when they were delivered", time.Hour, time.Minute, 600},
	} {
		f := newFixture(t, func(cfg *config.Config) {
			cfg.Storage.Retention, cfg.Remote.Settle = c.retention, c.settle
		})
		f.collect(10)
		f.deliver(600)
		f.collect(10)
		f.steps()
		if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != c.want {
			t.Errorf("%s: %d delivered samples are left, want %d", c.name, n, c.want)
		}
		if l, _ := f.ledger(); l.Pending < 600 || l.Lost != 0 || l.Delivered != 600 {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}

func TestAChunkOfOldAndYoungSamplesSettlesBeforeAnyGoes(t *testing.T) {
	f := newFixture(t, func(c *config.Config) { c.Storage.Retention, c.Remote.Settle = 168*time.Hour, 24*time.Hour })
	for _, days := range []time.Duration{8, 6} {
		f.at = time.Now().Add(-days * 24 * time.Hour).UnixMilli()
		f.collect(5)
	}
	f.deliver(600)
	f.trimmable(t, 10)
	f.steps()
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != 600 {
		t.Errorf("%d of 600 samples are left that were delivered just now", n)
	}
	if n := f.count("SELECT count(*) FROM sessions"); n != 1000 {
		t.Errorf("%d sessions are kept while deliveries are late", n)
	}
	// The same chunk, delivered two days ago.
	f.exec(t, "UPDATE upload_checkpoints SET upload_time = upload_time - 48 * 3600000")
	f.ageDue, f.wholeDue = time.Time{}, time.Time{}
	f.steps()
	if n := f.count("SELECT count(*) FROM samples WHERE uploaded = 1"); n != 300 {
		t.Errorf("%d samples are left once they have settled, want those of 6 days", n)
	}
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

func TestAReaderThatPinsTheLogIsReportedAndSurvived(t *testing.T) {
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
	// Over the bound: deleting would lengthen the log, so nothing is given up.
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
		t.Errorf("given up for the sake of a reader: %v", lost)
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

func TestADatabaseThatIsNotOpenYetIsAwaitedQuietly(t *testing.T) {
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
	// Once it was open, its loss is told, and once.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := k.Step(t.Context())
	if err == nil || strings.Count(err.Error(), "database is closed") != 1 {
		t.Errorf("closed: %v", err)
	}
}

func TestStopLeavesAnEmptyLogAndASignOfIt(t *testing.T) {
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

func TestTheBoundIsDividedBetweenRowsAndLog(t *testing.T) {
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
