package sampling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
)

// records returns the log's records with a message that begins with prefix.
func records(t *testing.T, log, prefix string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var r map[string]any
		if !strings.HasPrefix(line, "{") {
			continue
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if strings.HasPrefix(r["msg"].(string), prefix) {
			all = append(all, r)
		}
	}
	return all
}

func TestACollectorThatPanicsLosesOnlyItsOwnSamplesAndIsReportedOnce(t *testing.T) {
	var log strings.Builder
	sick := true
	var values []int
	panics := collectFunc(func(now time.Time) ([]metric.Sample, error) {
		if sick {
			return nil, fmt.Errorf("value %d", values[len(values)-1+int(now.UnixMilli()%2)]) // out of range
		}
		return good("sick")(now)
	})
	r, db := mustSampler(t, &log, every(time.Second, "sick", panics), every(time.Second, "fine", good("fine")))
	r.log = slog.New(slog.NewJSONHandler(&log, nil))
	base := time.Now()
	for i := range 3 {
		if _, err := r.collect(t.Context(), r.all, base.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if got := pendingNames(t, db); got["fine"] != 3 || got["sick"] != 0 {
		t.Errorf("stored %v, want fine three times", got)
	}
	said := records(t, log.String(), "a collector panicked")
	if len(said) != 1 || said[0]["level"] != "ERROR" || said[0]["collector"] != "sick" || said[0]["error_type"] != "panic" ||
		!strings.Contains(said[0]["error"].(string), "out of range") || !strings.Contains(said[0]["stack"].(string), "collectors_test.go") {
		t.Errorf("said %v", said)
	}
	if got := r.self.Tally.Value("collector.metrics_failed_total", "collector", "sick"); got != 3 {
		t.Errorf("counted %v failures, want 3", got)
	}
	all, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == "collector/sick" && (s.Failed != 3 || !strings.Contains(s.Error, "panic: ")) {
			t.Errorf("status %+v", s)
		}
	}
	sick = false
	if _, err := r.collect(t.Context(), r.all, base.Add(3*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := pendingNames(t, db); got["sick"] != 1 || len(records(t, log.String(), "collector reads everything again")) != 1 {
		t.Errorf("afterwards %v:\n%s", got, log.String())
	}
}

func TestDeliberateOmissionsAreLoggedOnceAndAreNoFailure(t *testing.T) {
	var log strings.Builder
	round := 0
	leaves := collectFunc(func(now time.Time) ([]metric.Sample, error) {
		s, _ := good("a")(now)
		round++
		return s, errors.Join(collect.Note("the stick of somebody else"), collect.Note(fmt.Sprint("stick ", round/2)))
	})
	r, db := mustSampler(t, &log, every(time.Second, "a", leaves))
	base := time.Now()
	for i := range 4 {
		if _, err := r.collect(t.Context(), r.all, base.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "skips part of its sources"); n != 4 { // somebody's, and sticks 0, 1 and 2
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	all, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == "collector/a" && (s.Failed != 0 || s.Succeeded != 4 || s.Error != "") {
			t.Errorf("status %+v", s)
		}
	}
}

func TestEachCollectionIsLoggedAtDebugLevel(t *testing.T) {
	var log strings.Builder
	r, _ := mustSampler(t, &log, every(time.Second, "a", good("a")), every(time.Second, "none", collectFunc(func(time.Time) ([]metric.Sample, error) { return nil, collect.ErrNoData })))
	r.log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := r.collect(t.Context(), r.all, time.Now()); err != nil {
		t.Fatal(err)
	}
	said := records(t, log.String(), "collected")
	if len(said) != 2 || said[0]["collector"] != "a" || said[0]["count"] != 1.0 || said[1]["count"] != 0.0 {
		t.Fatalf("said %v", said)
	}
	if took, ok := said[0]["duration_ms"].(float64); !ok || took < 0 {
		t.Errorf("said %v", said[0])
	}
}

func TestKindsOfErrorsHaveAName(t *testing.T) {
	for want, err := range map[string]error{
		"panic":      errors.Join(errors.New("x"), &panicError{value: 1}),
		"timeout":    fmt.Errorf("%w for 3s", errTimeout),
		"not_found":  &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrNotExist},
		"permission": fmt.Errorf("read: %w", fs.ErrPermission),
		"read":       &os.PathError{Op: "read", Path: "/x", Err: errors.New("input/output error")},
		"format":     errors.New("line 3: no number"),
	} {
		if got := errorType(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

func TestAStopInARoundIsNoFailureOfACollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		release := make(chan struct{})
		r, db := mustSampler(t, &log, every(10*time.Second, "first", good("first")),
			every(10*time.Second, "slow", collectFunc(func(time.Time) ([]metric.Sample, error) {
				<-release
				return nil, collect.ErrNoData
			})))
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		if _, err := r.Round(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(release)
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if names := pendingNames(t, db); names["first"] != 1 {
			t.Errorf("the samples that were read are not stored: %v", names)
		}
		for _, a := range r.all {
			if row := a.component.Row(); row.FailingSinceMs != 0 {
				t.Errorf("%s is said to fail: %s", a.Name, row.Error)
			}
		}
		if log.Len() > 0 {
			t.Error(log.String())
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
