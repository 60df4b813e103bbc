package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

func mustOpen(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path, Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func mustRecord(t testing.TB, db *DB, u Update) int {
	t.Helper()
	n, err := db.Record(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tick is n samples at one time, of series 0 to n-1.
func tick(at int64, n int) []metric.Sample {
	samples := make([]metric.Sample, n)
	for i := range samples {
		samples[i] = metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", fmt.Sprint(i)), TimeMs: at, Value: float64(i) + 0.125}
	}
	return samples
}

// mustBalance fails unless the ledger agrees with a count of the rows.
func mustBalance(t testing.TB, db *DB) Ledger {
	t.Helper()
	l, _, err := db.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for state, want := range map[State]int64{Pending: l.Pending, Rejected: l.Rejected, Held: l.Held, Local: l.Local} {
		var n int64
		if err := db.read.QueryRow("SELECT count(*) FROM samples WHERE uploaded = ?", state).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%d rows in state %d, the ledger says %d (%+v)", n, state, want, l)
		}
	}
	return l
}

func TestSamplesGoFromPendingToDeliveredOnce(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	u := Update{Groups: []Group{{Priority: 2, Samples: append(tick(1000, 3), tick(2000, 3)...)}}}
	if n := mustRecord(t, db, u); n != 6 {
		t.Errorf("stored %d, want 6", n)
	}
	if n := mustRecord(t, db, u); n != 0 {
		t.Errorf("the same samples again stored %d, want 0", n)
	}
	rows, err := db.Newest(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r.TimeMs, r.Series.Tags, r.Value))
	}
	want := []string{`2000{"core":"2"}2.125`, `2000{"core":"1"}1.125`, `2000{"core":"0"}0.125`, `1000{"core":"2"}2.125`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, wantMarked := range []int{4, 0} {
		marked, err := db.Acknowledge(t.Context(), rows, Receipt{BatchID: "b", At: time.UnixMilli(5000)}, Update{})
		if err != nil || marked != wantMarked {
			t.Errorf("marked %d, %v; want %d", marked, err, wantMarked)
		}
	}
	if l := mustBalance(t, db); l.Captured != 6 || l.Delivered != 4 || l.Pending != 2 {
		t.Errorf("ledger %+v", l)
	}
}

func TestProcessesOpeningOneNewFileTogetherAllSucceed(t *testing.T) {
	for range 10 {
		path := filepath.Join(t.TempDir(), "metrics.db")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				db, err := Open(t.Context(), path, Options{Device: "d"})
				if err != nil {
					t.Error(err)
					return
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

func TestReaderSeesRowsAfterTheWriterClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%.db")
	db, err := Open(t.Context(), path, Options{Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(1000, 5)}}})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err != nil {
			t.Errorf("gone after the last close: %v", err)
		}
	}
	r, err := OpenReader(t.Context(), path, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Ledger.Pending != 5 || s.PendingMs != 1000 || s.OldestMs != 1000 {
		t.Errorf("%+v", s)
	}
	if _, err := r.read.ExecContext(context.Background(), "DELETE FROM samples"); err == nil {
		t.Error("a reader could write")
	}
}

func TestASampleThatCanNotBeStoredIsCountedAndTheOthersAreStored(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(1, 2)}}})
	if _, err := db.write.Exec("INSERT INTO series VALUES (?, 'k', 'n', 'd', '', 0)", MaxSeries); err != nil {
		t.Fatal(err)
	}
	db.LimitSeries(SeriesLimit{Count: 2}) // the third is not of this process
	for at := range int64(2) {            // also again: a refused series leaves nothing behind
		samples := tick(10+at, 3) // the third is of a series too many
		samples[1].Value = math.NaN()
		if n := mustRecord(t, db, Update{Groups: []Group{{Samples: samples}}}); n != 1 {
			t.Errorf("stored %d of 3, want 1", n)
		}
	}
	mustBe(t, db, 3, "SELECT count(*) FROM series")
	l := mustBalance(t, db)
	_, losses, err := db.Ledger(t.Context())
	if err != nil || l.Captured != 8 || l.Pending != 4 || len(losses) != 2 || losses[0].Reason != status.LostSeriesLimit || losses[0].Count != 2 || losses[1].Reason != "unstorable" || losses[1].Count != 2 {
		t.Errorf("%+v, lost %+v, %v", l, losses, err)
	}
}

// mustAudit fails unless captured = delivered + pending + held + rejected +
// local + lost, with the rows counted.
func mustAudit(t testing.TB, db *DB) Ledger {
	t.Helper()
	l, err := db.Audit(t.Context())
	if err != nil {
		t.Errorf("the ledger does not balance: %v", err)
	}
	return l
}

func overwrite(t testing.TB, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
}

// mustEmptyLog moves the WAL into the file.
func mustEmptyLog(t testing.TB, path string) {
	t.Helper()
	db, err := Open(t.Context(), path, Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := db.Checkpoint(t.Context(), 0); err != nil || c.Busy {
		t.Fatal(c, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAStatusRowReadAloneEqualsTheOneReadWithAll(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, Update{Status: []status.Row{{Component: "a", Daemon: "d", Version: "1", SuccessBootMs: 7, Succeeded: 3}, {Component: "b", Daemon: "d"}}})
	all, err := db.Statuses(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, want := range all {
		if got, ok, err := db.StatusOf(t.Context(), want.Component); err != nil || !ok || got != want {
			t.Errorf("%+v, %v, %v, want %+v", got, ok, err, want)
		}
	}
	if got, ok, err := db.StatusOf(t.Context(), "c"); err != nil || ok || got.SuccessBootMs != -1 {
		t.Errorf("of no component: %+v, %v, %v", got, ok, err)
	}
}
