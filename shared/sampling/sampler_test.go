package sampling

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// collectFunc lets a function stand for a source that a machine cannot be made
// to have: one that never answers, or fails at will.
type collectFunc func(now time.Time) ([]metric.Sample, error)

func (f collectFunc) Collect(now time.Time) ([]metric.Sample, error) { return f(now) }

func good(name string) collectFunc {
	return func(now time.Time) ([]metric.Sample, error) {
		return []metric.Sample{{Name: name, TimeMs: now.UnixMilli(), Value: 1}}, nil
	}
}

// every schedules a collector.
func every(interval time.Duration, name string, c collect.Collector) collect.Scheduled {
	return collect.Scheduled{Collector: c, Name: name, Interval: interval, Priority: 2}
}

func mustSampler(t *testing.T, log *strings.Builder, all ...collect.Scheduled) (*Sampler, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "metrics.db"), store.Options{Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return New(db, all, status.Daemon{Name: "metrics-collector", Started: time.Now()}, "ship", slog.New(slog.NewTextHandler(log, nil))), db
}

func pendingNames(t *testing.T, db *store.DB) map[string]int {
	t.Helper()
	rows, err := storetest.Newest(t.Context(), db, 100000)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, r := range rows {
		names[r.Series.Name]++
	}
	return names
}

func TestCollectorsRunAtTheirOwnIntervalsAndShareOneTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r, db := mustSampler(t, &log, every(10*time.Second, "a", good("a")), every(30*time.Second, "b", good("b")))
		start := time.Now()
		for time.Since(start) < time.Minute {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(next)
		}
		if got := pendingNames(t, db); got["a"] != 6 || got["b"] != 2 {
			t.Errorf("in a minute: %v, want a 6 times and b 2 times", got)
		}
		rows, _ := storetest.Newest(t.Context(), db, 1000)
		times := map[int64]bool{}
		for _, row := range rows {
			times[row.TimeMs] = true
		}
		if len(times) != 6 {
			t.Errorf("%d different times, want 6: what is due together shares one", len(times))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A round comes at least once a minute, with nothing to do if the collectors run
// seldom or there is none.
func TestAHeartbeatIsStoredEachIdleMinute(t *testing.T) {
	r, db := mustSampler(t, &strings.Builder{})
	for _, c := range []struct{ at, want time.Duration }{
		{0, 0},
		{time.Second, 0},
		{30 * time.Second, 0},
		{time.Minute - time.Millisecond, time.Minute - time.Millisecond}, // a timer may be early
		{time.Minute + time.Second, time.Minute - time.Millisecond},
		{2 * time.Minute, 2 * time.Minute},
		{3 * time.Minute, 3 * time.Minute},
		{3*time.Minute - time.Hour, 3*time.Minute - time.Hour}, // the clock was set back
	} {
		now := at(now2026, 10*time.Minute+c.at)
		if _, err := r.collectAt(t.Context(), nil, now); err != nil {
			t.Fatal(err)
		}
		rows, err := db.Statuses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		beat := time.Duration(-1)
		for _, row := range rows {
			if row.Component == status.CollectorRow {
				beat = time.UnixMilli(row.HeartbeatMs).Sub(at(now2026, 10*time.Minute).Wall)
			}
		}
		if beat != c.want {
			t.Errorf("at %s the last heartbeat is of %s, want %s", c.at, beat, c.want)
		}
	}
}

func TestACollectorThatNeverAnswersDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		release := make(chan struct{})
		var asked atomic.Int32
		stuck := collectFunc(func(now time.Time) ([]metric.Sample, error) {
			asked.Add(1)
			<-release
			return good("stuck")(now)
		})
		r, db := mustSampler(t, &log, every(10*time.Second, "stuck", stuck), every(10*time.Second, "fine", good("fine")))
		for range 3 {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(next)
		}
		if got := pendingNames(t, db); got["fine"] != 3 || got["stuck"] != 0 {
			t.Errorf("stored %v, want fine 3 times", got)
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times while it owed an answer", asked.Load())
		}
		if n := strings.Count(log.String(), "collector=stuck"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
		if got := r.self.Tally.Value("collector.metrics_failed_total", "collector", "stuck"); got != 3 {
			t.Errorf("counted %v failures, want 3", got)
		}
		close(release)
		synctest.Wait()
		for range 2 {
			if _, err := r.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if got := pendingNames(t, db); got["stuck"] == 0 {
			t.Error("not asked again after it had answered")
		}
		if !strings.Contains(log.String(), "reads everything again") {
			t.Errorf("its recovery was not said:\n%s", log.String())
		}
		db.Close()
	})
}

func TestUnreadableEntriesAreCountedAndReportedOnce(t *testing.T) {
	var log strings.Builder
	half := collectFunc(func(now time.Time) ([]metric.Sample, error) {
		s, _ := good("half")(now)
		return s, errors.Join(errors.New("zone 1: gone"), errors.New("zone 2: gone"))
	})
	r, db := mustSampler(t, &log, every(time.Second, "half", half))
	for range 3 {
		if _, err := r.collect(t.Context(), r.all, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // samples of one series need times of their own
	}
	if got := r.self.Tally.Value("collector.metrics_failed_total", "collector", "half"); got != 6 {
		t.Errorf("counted %v failed readings, want 6", got)
	}
	if n := strings.Count(log.String(), "zone 1"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
	all, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == "collector/half" && (s.Failed != 6 || s.Succeeded != 3 || s.FailingSinceMs == 0 || !strings.Contains(s.Error, "zone 2")) {
			t.Errorf("status %+v", s)
		}
	}
}

func TestSamplesOfAFullDiskWaitInMemoryAndAreCountedWhenTheyMustGo(t *testing.T) {
	var log strings.Builder
	big := collectFunc(func(now time.Time) ([]metric.Sample, error) {
		var all []metric.Sample
		for i := range 3000 {
			all = append(all, metric.Sample{Name: "big", TimeMs: now.UnixMilli()*10000 + int64(i), Value: 1})
		}
		return all, nil
	})
	r, db := mustSampler(t, &log, every(time.Second, "big", big))
	good := r.db
	broken, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "other.db"), store.Options{Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	broken.Close()
	r.db = broken
	base := time.Now()
	for i := range 9 {
		if _, err := r.collect(t.Context(), r.all, base.Add(time.Duration(i)*time.Millisecond)); err == nil {
			t.Fatal("a closed database took samples")
		}
	}
	if n := r.queue.size(); n > queueLimit {
		t.Errorf("%d samples wait, the limit is %d", n, queueLimit)
	}
	r.db = good
	if _, err := r.collect(t.Context(), r.all, base.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	ledger, losses, err := db.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ledger.Captured < 30000 || ledger.Captured != ledger.Pending+ledger.Lost || ledger.Lost == 0 || losses[0].Reason != "memory_full" {
		t.Errorf("ledger %+v, losses %+v", ledger, losses)
	}
	if ledger.Pending != int64(pendingTotal(t, db)) {
		t.Errorf("the books say %d pending, there are %d", ledger.Pending, pendingTotal(t, db))
	}
}

func pendingTotal(t *testing.T, db *store.DB) int {
	t.Helper()
	n := 0
	for _, c := range pendingNames(t, db) {
		n += c
	}
	return n
}
