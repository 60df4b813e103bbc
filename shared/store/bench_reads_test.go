package store

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// fillRows stores samples of so many series at each of the times, in the given
// state, as many transactions of Record left them, and returns how many.
func fillRows(t *testing.T, db *DB, series int, from, until, every int64, uploaded int) (rows int64) {
	t.Helper()
	mustRecord(t, db, Update{Groups: []Group{{Priority: 2, Samples: chartTick(from, series)}}})
	const slice = int64(6 * time.Hour / time.Millisecond)
	for at := from; at < until; at += slice {
		r, err := db.write.ExecContext(t.Context(), `WITH RECURSIVE times(at) AS (SELECT ?1 UNION ALL SELECT at + ?3 FROM times WHERE at + ?3 < ?2)
			INSERT OR REPLACE INTO samples (timestamp_ms, series_id, value, uploaded, priority)
			SELECT at, id, (at - ?4) / 1000.0 * (id % 7 + 1), ?5, 2 FROM times CROSS JOIN series ORDER BY at, id`, at, min(at+slice, until), every, from, uploaded)
		n, err := affected(r, err)
		if err != nil {
			t.Fatal(err)
		}
		rows += int64(n)
		mustCheckpoint(t, db, 64<<20)
	}
	return rows
}

// chartTick is one sample of each of so many series, of which the first twelve
// are on a chart: six levels and six counters.
func chartTick(at int64, series int) []metric.Sample {
	all := make([]metric.Sample, series)
	for i := range all {
		name := "bench.other_bytes"
		switch {
		case i < 6:
			name = "bench.level"
		case i < 12:
			name = "bench.count_total"
		}
		all[i] = metric.Sample{Name: name, Tags: metric.Tags("n", fmt.Sprint(i)), TimeMs: at, Value: 1}
	}
	return all
}

// mustTake prints a line of the table of make bench-check. A time is for reading: a
// busy machine fails nothing.
func mustTake(what string, took time.Duration, most time.Duration) {
	verdict := "ok"
	if took > most {
		verdict = "over, which a busy machine may be"
	}
	fmt.Printf("must: %s, ms | %.1f | %d | %s\n", what, float64(took.Microseconds())/1000, most.Milliseconds(), verdict)
}

// TestReadingAWeekBesideFiveMillion measures what the status page asks for: a
// week of twelve series, in its steps.
func TestReadingAWeekBesideFiveMillion(t *testing.T) {
	skipUnmeasured(t)
	db := mustOpen(t, benchDir(t)+"/metrics.db")
	const every, series, stepMs = 10_000, 83, int64(70 * time.Minute / time.Millisecond)
	until := time.Now().UnixMilli() / every * every
	from := until - int64(7*24*time.Hour/time.Millisecond)
	rows := fillRows(t, db, series, from, until, every, 1)
	query := func(from int64) (took time.Duration, buckets int) {
		took = time.Hour
		for range 5 {
			begun, n := time.Now(), 0
			sample, err := db.SampleWindow(t.Context(), from, until, stepMs)
			if err != nil {
				t.Fatal(err)
			}
			for name, rate := range map[string]bool{"bench.level": false, "bench.count_total": true} {
				span := BucketSpan{From: from, Until: until, StepMs: stepMs, Rate: rate, SampleMs: sample}
				found, err := db.SeriesNamed(t.Context(), []string{name}, 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range found {
					span.Series = append(span.Series, s.ID)
				}
				if err := db.Buckets(t.Context(), span, func(Bucket) { n++ }); err != nil {
					t.Fatal(err)
				}
			}
			took, buckets = min(took, time.Since(begun)), n
		}
		return took, buckets
	}
	week, buckets := query(from)
	day, _ := query(until - int64(24*time.Hour/time.Millisecond))
	fmt.Printf("-- the page's question beside %d samples, the best of five\n", rows)
	show(t, []figure{
		{"12 series over a week, in steps of 70 minutes", float64(week.Microseconds()) / 1000, "ms", 0},
		{"12 series over a day, in the same steps", float64(day.Microseconds()) / 1000, "ms", 0},
		{"a week against a day", float64(week) / float64(day), "times", 4},
	})
	mustTake("page query, a week of 12 series beside 5 M rows", week, 300*time.Millisecond)
	if buckets < 12*140 || rows < 5_000_000 {
		t.Errorf("%d buckets of %d rows", buckets, rows)
	}
}

// TestReadingAnyPageOfAMillionPending measures the walk over the backlog, in both
// orders: the 200th page against the first.
func TestReadingAnyPageOfAMillionPending(t *testing.T) {
	skipUnmeasured(t)
	const page, pages = 2500, 200
	db := mustOpen(t, benchDir(t)+"/metrics.db")
	until := time.Now().UnixMilli() / 10_000 * 10_000
	rows := fillRows(t, db, 100, until-100_000_000, until, 10_000, 0)
	fmt.Printf("-- pages of %d of the backlog, %d pending, the best of three walks\n", page, rows)
	var figures []figure
	for _, oldestFirst := range []bool{false, true} {
		best := slices.Repeat([]time.Duration{time.Hour}, pages)
		for range 3 {
			var at Cursor
			var into []Row
			for i := range best {
				begun := time.Now()
				var err error
				if into, err = db.Backlog(t.Context(), into[:0], &at, math.MaxInt64, oldestFirst, page); err != nil || len(into) != page {
					t.Fatalf("page %d has %d rows, %v", i+1, len(into), err)
				}
				best[i] = min(best[i], time.Since(begun))
			}
		}
		order := map[bool]string{false: "newest first", true: "oldest first"}[oldestFirst]
		ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
		mustTake("Backlog query, page 200, "+order, best[pages-1], 5*time.Millisecond)
		first, last := slices.Min(best[:10]), slices.Min(best[pages-10:])
		figures = append(figures,
			figure{"page 1, " + order, ms(best[0]), "ms", 0}, figure{"page 200, " + order, ms(best[pages-1]), "ms", 0},
			figure{"the longest of 200 pages, " + order, ms(slices.Max(best)), "ms", 0},
			figure{"the last ten pages against the first ten, " + order, float64(last) / float64(first), "times", 2})
	}
	show(t, figures)
	if rows < 1_000_000 {
		t.Errorf("%d rows", rows)
	}
}
