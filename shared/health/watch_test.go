package health

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A board is a database with writers that are played by the test.
type board struct {
	path  string
	mu    sync.Mutex
	locks map[string]Lock
	sent  atomic.Int64 // bytes that its server wrote
	seen  *Watch       // the last one
}

// expire ends the second for which the last Watch keeps its report.
func (b *board) expire() {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	b.seen.lastAt = time.Time{}
}

func newBoard(t *testing.T) *board {
	t.Helper()
	return &board{
		path:  filepath.Join(t.TempDir(), "metrics.db"),
		locks: map[string]Lock{collector: {Held: true, PID: os.Getpid()}, shipper: {Held: true, PID: os.Getpid()}},
	}
}

func (b *board) config() config.Config {
	c := config.Default()
	c.Device.ID, c.Storage.Path, c.Metrics = "board-1", b.path, nil
	return c
}

func (b *board) now() status.Moment { return status.Moment{Wall: time.Now(), Boot: uptime} }

func (b *board) watch(t *testing.T) *Watch {
	t.Helper()
	w := NewWatch(b.config(), Host{
		Now: func() Moment { return Moment{b.now(), bootID} },
		Lock: func(program string) (Lock, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.locks[program], nil
		},
		Self: func() (ProcessUse, error) { return ProcessUse{1.5, 9 << 20, -1}, errors.New("io: permission denied") },
	})
	w.thresholds.NoCollectors = false // the collectors are not played
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	b.seen = w
	return w
}

// fill makes the database as writers leave it that are well and have delivered.
func (b *board) fill(t *testing.T, samples ...metric.Sample) {
	t.Helper()
	db, err := store.Open(t.Context(), b.path, store.Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := b.now()
	u := store.Update{Groups: []store.Group{{Samples: append(samples, metric.Sample{Name: "system.load1", TimeMs: now.Wall.UnixMilli(), Value: 1})}}}
	for component, daemon := range map[string]string{"collector": collector, "collector/system.load": collector, "shipper": shipper} {
		p := status.NewComponent(status.Daemon{Name: daemon, Version: "1.0", BootID: bootID, Started: now.Wall}, component, 10*time.Second)
		p.Succeed(now, 1)
		u.Status = append(u.Status, p.Row())
	}
	if _, err := db.Record(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	mustSQL(t, b.path, fmt.Sprintf(`UPDATE samples SET uploaded = 1; UPDATE ledger SET count = (SELECT count(*) FROM samples) WHERE name = 'delivered';
		INSERT INTO upload_checkpoints (batch_id, chunk_index, upload_time) VALUES ('b', 0, %d)`, now.Wall.UnixMilli()))
}

// add stores samples beside what is there.
func (b *board) add(t *testing.T, samples ...metric.Sample) {
	t.Helper()
	db, err := store.Open(t.Context(), b.path, store.Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: samples}}}); err != nil {
		t.Fatal(err)
	}
}

func (b *board) remove(t *testing.T) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(b.path + suffix); err != nil {
			t.Fatal(err)
		}
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func mustSQL(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func TestWatchFollowsTheFileThroughEverything(t *testing.T) {
	b := newBoard(t)
	w := b.watch(t)
	for _, step := range []struct {
		name, want string
		do         func()
	}{
		{"before anything", "error database_missing", func() {}},
		{"an empty file", "error database_empty", func() { mustWrite(t, b.path, "") }},
		{"writers run", "ok", func() { b.fill(t) }},
		{"deleted under us", "error database_missing", func() { b.remove(t) }},
		{"made anew", "ok", func() { b.fill(t) }},
		{"replaced by a damaged one", "error database_damaged", func() {
			b.remove(t)
			mustWrite(t, b.path, "this is no database at all, whatever its name says, and long enough to have a header")
		}},
		{"replaced by a good one", "ok", func() { b.remove(t); b.fill(t) }},
		{"a database of another program", "error database_foreign", func() { b.remove(t); mustSQL(t, b.path, "CREATE TABLE t (x)") }},
		{"an older schema", "error database_older", func() {
			b.remove(t)
			mustSQL(t, b.path, "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp_ms, metric_name, metric_value, device_id)")
		}},
		{"brought up to date", "ok", func() { b.fill(t) }},
		{"a newer schema", "error database_newer", func() {
			b.remove(t)
			mustSQL(t, b.path, "CREATE TABLE schema_version (id INTEGER PRIMARY KEY, version, applied_at); INSERT INTO schema_version (version) VALUES (99)")
		}},
		{"a directory", "error database_unreadable", func() {
			b.remove(t)
			if err := os.Mkdir(b.path, 0o750); err != nil {
				t.Fatal(err)
			}
		}},
		{"good again", "ok", func() { b.remove(t); b.fill(t) }},
		{"its tables gone while open", "error database_unreadable", func() { mustSQL(t, b.path, "DROP TABLE status") }},
		{"good at last", "ok", func() { b.remove(t); b.fill(t) }},
	} {
		step.do()
		if got := verdict(w.Once(t.Context())); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

func TestWatchReportsALockedDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	b := newBoard(t)
	b.fill(t)
	db, err := sql.Open("sqlite3", "file:"+b.path+"?_locking_mode=EXCLUSIVE&_journal_mode=DELETE")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	if got := verdict(b.watch(t).Once(t.Context())); got != "error database_locked" {
		t.Error(got)
	}
}

func TestConcurrentRequestsShareOneObservation(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	w := b.watch(t)
	looks := 0
	now := w.host.Now
	w.host.Now = func() Moment { looks++; return now() }
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r := w.Current(t.Context()); r.Status != StatusOK {
				t.Error(verdict(r))
			}
		})
	}
	wg.Wait()
	for range 50 {
		w.Current(t.Context())
	}
	if looks > 3 {
		t.Errorf("%d looks for 50 askers", looks)
	}
}

func TestAWriterThatEndsDuringAnObservationHasNotCrashed(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	w := b.watch(t)
	asked := 0
	lock := w.host.Lock
	w.host.Lock = func(program string) (Lock, error) {
		asked++
		if asked == 1 {
			return Lock{}, nil // before it took its lock
		}
		return lock(program)
	}
	if got := verdict(w.Once(t.Context())); got != "ok" {
		t.Error(got)
	}
}

func TestAClientThatDisconnectsDoesNotAffectTheAnswer(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	w := b.watch(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w.Current(gone)
	if got := verdict(w.Current(t.Context())); got != "ok" {
		t.Error(got)
	}
}

func TestADiskThatDoesNotAnswerIsNamedAndDelaysNobodyLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBoard(t).watch(t)
		answer := make(chan struct{})
		w.host.Lock = func(string) (Lock, error) { <-answer; return Lock{}, nil }
		begun := time.Now()
		if got := verdict(w.Current(t.Context())); got != "error database_silent" {
			t.Error(got)
		}
		if waited := time.Since(begun); waited != observeTimeout {
			t.Errorf("waited %s", waited)
		}
		close(answer)
		synctest.Wait()
		if got := verdict(w.Current(t.Context())); got != "error database_missing" {
			t.Error(got)
		}
	})
}

func TestTheEvaluationLogsOnlyChanges(t *testing.T) {
	b := newBoard(t)
	w := b.watch(t)
	var lines lineCounter
	judge := w.Judge(slog.New(slog.NewTextHandler(&lines, nil)))
	for range 3 {
		if err := judge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if lines != 1 {
		t.Errorf("%d lines for one status", lines)
	}
}

type lineCounter int

func (c *lineCounter) Write(p []byte) (int, error) { *c++; return len(p), nil }
