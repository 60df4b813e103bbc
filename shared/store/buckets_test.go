package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taniwha3/thugshells/shared/metric"
)

// recordSeries stores the values of one series at the times given in seconds.
func recordSeries(t *testing.T, db *DB, name, tags string, atAndValue ...float64) {
	t.Helper()
	var samples []metric.Sample
	for i := 0; i < len(atAndValue); i += 2 {
		samples = append(samples, metric.Sample{Name: name, Tags: tags, TimeMs: int64(atAndValue[i] * 1000), Value: atAndValue[i+1]})
	}
	mustRecord(t, db, Update{Groups: []Group{{Samples: samples}}})
}

func bucketsOf(t *testing.T, r *Reader, name string, span BucketSpan) []string {
	t.Helper()
	series, err := r.SeriesNamed(t.Context(), []string{name}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range series {
		span.Series = append(span.Series, s.ID)
	}
	var got []string
	err = r.Buckets(t.Context(), span, func(b Bucket) {
		got = append(got, fmt.Sprintf("%d: %g %g %g", b.StartMs/1000, b.Min, b.Max, b.Avg))
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBucketsGiveMinMaxAvgAndLeaveGaps(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	recordSeries(t, db, "system.load1", "", 60, 1, 70, 3, 119, 2, 120, 7, 300, 5, 299.999, 9)
	got := bucketsOf(t, db.Reader, "system.load1", BucketSpan{From: 60000, Until: 300000, StepMs: 60000})
	want := []string{"60: 1 3 2", "120: 7 7 7", "240: 9 9 9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBucketsAreWholeAcrossSlices(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	var readings []float64
	for at := 0.0; at < 6*3600; at += 600 {
		readings = append(readings, at, at/600)
	}
	recordSeries(t, db, "system.load1", "", readings...)
	got := bucketsOf(t, db.Reader, "system.load1", BucketSpan{From: 0, Until: 6 * 3600000, StepMs: 5 * 3600000})
	if diff := cmp.Diff([]string{"0: 0 29 14.5", "18000: 30 35 32.5"}, got); diff != "" {
		t.Error(diff)
	}
	if got := bucketsOf(t, db.Reader, "system.load1", BucketSpan{From: 0, Until: 6 * 3600000, StepMs: 7 * 60000}); len(got) != 36 {
		t.Errorf("%d buckets with a sample, want 36: %v", len(got), got)
	}
}

func TestRatesSkipAResetAndALongGap(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	recordSeries(t, db, "network.rx_bytes_total", metric.Tags("interface", "wwan0"),
		0, 1000, 10, 2000, 20, 2000, // 100/s, 0/s
		30, 50, 40, 550, // reset: nothing, then 50/s
		400, 99999, // 6 minutes later: nothing
		410, 100099) // 10/s
	// Another series between must not be mixed in.
	recordSeries(t, db, "network.rx_bytes_total", metric.Tags("interface", "eth0"), 400, 7)
	got := bucketsOf(t, db.Reader, "network.rx_bytes_total", BucketSpan{From: 0, Until: 500000, StepMs: 10000, Rate: true})
	if diff := cmp.Diff([]string{"10: 100 100 100", "20: 0 0 0", "40: 50 50 50", "410: 10 10 10"}, got); diff != "" {
		t.Error(diff)
	}
	// The reading before the range is the base of its first rate.
	got = bucketsOf(t, db.Reader, "network.rx_bytes_total", BucketSpan{From: 10000, Until: 30000, StepMs: 20000, Rate: true})
	if diff := cmp.Diff([]string{"0: 100 100 100", "20: 0 0 0"}, got); diff != "" {
		t.Error(diff)
	}
	got = bucketsOf(t, db.Reader, "network.rx_bytes_total", BucketSpan{From: 0, Until: 60000, StepMs: 60000, Rate: true})
	if diff := cmp.Diff([]string{"0: 0 100 50"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBucketsReadARangeOfTheKey(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for _, query := range []string{levels, rates, sampledLevels, sampledRates} {
		steps := strings.Join(plan(t, db.read, query, 0, 1, 1, "[]", 1, 0), "\n")
		if !strings.Contains(steps, "SEARCH samples USING PRIMARY KEY (timestamp_ms>? AND timestamp_ms<?)") {
			t.Errorf("not a range of the key:\n%s", steps)
		}
	}
}

func TestADayOfAMillionRowsGivesEveryBucketOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	const series, tickMs = 58, 5000
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(0, series)}}})
	_, err := db.write.Exec(`WITH RECURSIVE tick(at) AS (VALUES (?1) UNION ALL SELECT at + ?1 FROM tick WHERE at + ?1 < 86400000)
		INSERT INTO samples (timestamp_ms, series_id, value) SELECT at, id, at / 1000 FROM tick, series`, tickMs)
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []bool{false, true} {
		begun, n := time.Now(), 0
		err := db.Buckets(t.Context(), BucketSpan{Series: []int64{1, 2, 3, 4, 5, 6, 7, 8}, Until: 24 * 3600 * 1000, StepMs: 240_000, Rate: rate}, func(Bucket) { n++ })
		if err != nil || n != 8*360 {
			t.Errorf("%d buckets, %v", n, err)
		}
		t.Logf("rate=%v: 8 of %d series among %d rows: %v", rate, series, 24*3600*1000/tickMs*series, time.Since(begun).Round(time.Millisecond))
	}
}

// TestALongRangeIsSampledAndSaysSo fills a week and asks for it: what is read of
// it is bounded, every step has a point, and a counter's rate is right.
func TestALongRangeIsSampledAndSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("stores a million rows")
	}
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	const interval, series, step = 30_000, 50, 20 * 60_000
	week := int64(7 * 24 * time.Hour / time.Millisecond)
	var first []metric.Sample
	for i := range series {
		first = append(first, metric.Sample{Name: fmt.Sprint("s", i)})
	}
	mustRecord(t, db, Update{Groups: []Group{{Samples: first}}})
	_, err := db.write.Exec(`WITH RECURSIVE tick(at) AS (VALUES (?1) UNION ALL SELECT at + ?1 FROM tick WHERE at + ?1 < ?2)
		INSERT INTO samples (timestamp_ms, series_id, value) SELECT at, id, CAST(at / 1000 * CAST(substr(metric_name, 2) AS INTEGER) AS REAL) FROM tick, series`, interval, week)
	if err != nil {
		t.Fatal(err)
	}
	window, err := db.SampleWindow(t.Context(), 0, week, step)
	if err != nil || window <= 0 || window > step/2 {
		t.Fatalf("%d ms of a step of %d are read, %v", window, step, err)
	}
	if short, err := db.SampleWindow(t.Context(), week-int64(time.Hour/time.Millisecond), week, 10_000); short != 0 || err != nil {
		t.Errorf("of an hour %d ms a step are read, %v", short, err)
	}
	of, err := db.SeriesNamed(t.Context(), []string{"s7"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []bool{false, true} {
		points := 0
		err := db.Buckets(t.Context(), BucketSpan{Series: []int64{of[0].ID}, Until: week, StepMs: step, Rate: rate, SampleMs: window}, func(b Bucket) {
			if want := int64(points) * step; b.StartMs != want {
				t.Fatalf("point %d is at %d, want %d", points, b.StartMs, want)
			}
			if rate && (b.Avg != 7 || b.Min != 7 || b.Max != 7) || !rate && b.Min != float64(b.StartMs/1000*7) {
				t.Fatalf("%+v", b)
			}
			points++
		})
		if want := int(week / step); points != want || err != nil {
			t.Errorf("%d points of %d, %v", points, want, err)
		}
	}
}
