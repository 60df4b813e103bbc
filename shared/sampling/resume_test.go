package sampling

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// A diary counts its rounds, and goes on where what was stored says.
type diary struct {
	n        int
	asked    int
	restored bool
	news     bool // every round has something
	soon     bool
	wait     bool
}

func (d *diary) Collect(time.Time) ([]metric.Sample, error) { panic("Observe is there") }

func (d *diary) Restore(k collect.LastRun) {
	d.restored = true
	fmt.Sscanf(k.State, `{"n":%d}`, &d.n)
}

func (d *diary) Observe(now collect.Moment) (o collect.Observation, err error) {
	d.asked++
	if !d.restored {
		return o, errors.New("not restored")
	}
	o.State, o.Soon, o.Wait = map[string]int{"n": d.n}, d.soon, d.wait
	if !d.news {
		return o, collect.ErrNoData
	}
	d.n++
	ms := now.Wall.UnixMilli()
	o.State, o.Keep = map[string]int{"n": d.n}, true
	o.Counts = []metric.Count{{Name: "stream.events_total", Tags: metric.Tags("event", "n"), Value: float64(d.n)}}
	o.Samples = []metric.Sample{{Name: "stream.events_total", Tags: metric.Tags("event", "n"), TimeMs: ms, Value: float64(d.n)}}
	o.Events = []metric.Event{{TimeMs: ms, Source: "kernel", Name: "n", Text: fmt.Sprint(d.n)}}
	return o, nil
}

// stored is what the database has of the diary: its place, its count and its rows.
func stored(t *testing.T, db *store.DB) (place, count, rows int) {
	t.Helper()
	all, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == status.ReadingRow("stream.events") {
			fmt.Sscanf(s.Detail, `{"n":%d}`, &place)
		}
	}
	counts, err := db.Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		if c.Name == "stream.events_total" {
			count = int(c.Value)
		}
	}
	_, rows, err = db.RecentEvents(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return place, count, rows
}

func TestAResumingCollectorRunsOnlyWhenItsPlaceIsKnownAndContinuesThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{news: true}
		r, db := mustSampler(t, &log, every(5*time.Second, "stream.events", d))
		for range 4 {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if place, count, rows := stored(t, db); place != d.n || count != d.n || rows != d.n {
				t.Errorf("after %d: at %d, counted %d, %d rows", d.n, place, count, rows)
			}
			time.Sleep(next)
		}
		if d.n != 3 { // the first round only restores
			t.Errorf("%d rounds of 4", d.n)
		}
		again := &diary{news: true}
		r = New(db, []collect.Scheduled{every(5*time.Second, "stream.events", again)}, status.Daemon{Name: "metrics-collector", Started: time.Now()}, "ship", r.log)
		for range 2 {
			if _, err := r.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		if place, count, rows := stored(t, db); place != 4 || count != 4 || rows != 4 {
			t.Errorf("after a restart: at %d, counted %d, %d rows; want 4", place, count, rows)
		}
	})
}

// TestThePlaceOfACollectorWaitsWithItsSamples: while nothing can be stored, nothing is;
// then all of it is, in one.
func TestThePlaceOfACollectorWaitsWithItsSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{news: true}
		r, db := mustSampler(t, &log, every(5*time.Second, "stream.events", d), every(5*time.Second, "a", good("a")))
		round := func() error {
			_, err := r.Round(t.Context())
			time.Sleep(5 * time.Second)
			return err
		}
		for range 2 {
			if err := round(); err != nil {
				t.Fatal(err)
			}
		}
		db.SetFault(errors.New("not now"))
		for range 3 {
			if round() == nil {
				t.Fatal("no error although the database cannot be used")
			}
		}
		d.news = false
		if err := db.Attach(t.Context()); err != nil {
			t.Fatal(err)
		}
		if place, count, rows := stored(t, db); place != 1 || count != 1 || rows != 1 {
			t.Errorf("before: at %d, counted %d, %d rows; want 1", place, count, rows)
		}
		if err := round(); err != nil {
			t.Fatal(err)
		}
		if place, count, rows := stored(t, db); place != d.n || count != d.n || rows != d.n || d.n < 3 {
			t.Errorf("then: at %d, counted %d, %d rows; want %d", place, count, rows, d.n)
		}
	})
}

// TestARestoredResumingCollectorRunsWithTheOthers: asked at another time than they are, it
// would make each round two transactions.
func TestARestoredResumingCollectorRunsWithTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{news: true}
		r, db := mustSampler(t, &log, every(5*time.Second, "stream.events", d), every(10*time.Second, "a", good("a")))
		db.SetFault(errors.New("not now"))
		if _, err := r.Round(t.Context()); err == nil {
			t.Fatal("no error although the database cannot be used")
		}
		time.Sleep(3300 * time.Millisecond)
		if err := db.Attach(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for time.Since(begun) < 59*time.Second {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(next)
		}
		rows, err := storetest.Newest(t.Context(), db, 1000)
		if err != nil {
			t.Fatal(err)
		}
		times := map[int64]int{}
		for _, row := range rows {
			if row.TimeMs > begun.UnixMilli() {
				times[row.TimeMs]++
			}
		}
		if len(times) != 12 { // each 5 s, and each second one is of both
			t.Errorf("samples at %d times in a minute: %v", len(times), times)
		}
	})
}

// TestEventsOfAResumingCollectorAreStoredWithTheNextSamples: a minute of news each five
// seconds beside a collector of each ten takes six transactions. What was not
// stored when the daemon is killed is found again; at a stop nothing is left.
func TestEventsOfAResumingCollectorAreStoredWithTheNextSamples(t *testing.T) {
	var log strings.Builder
	now := status.Moment{Wall: time.Now(), Boot: time.Hour}
	round := func(r *Sampler) {
		t.Helper()
		due := r.all[:1]
		if int(now.Boot.Seconds())%10 == 0 {
			due = r.all
		}
		now.Wall, now.Boot = now.Wall.Add(5*time.Second), now.Boot+5*time.Second
		for _, a := range r.all {
			a.due = now.Wall.Add(5 * time.Second)
		}
		if _, err := r.collectAt(t.Context(), due, now); err != nil {
			t.Fatal(err)
		}
	}
	both := func(d *diary) []collect.Scheduled {
		return []collect.Scheduled{every(5*time.Second, "stream.events", d), every(10*time.Second, "a", good("a"))}
	}
	d := &diary{news: true, wait: true}
	r, db := mustSampler(t, &log, both(d)...)
	written, last := 0, 0
	for range 14 {
		round(r)
		place, count, rows := stored(t, db)
		if place != count || place != rows {
			t.Errorf("at %d, counted %d, %d rows", place, count, rows)
		}
		if place != last {
			last = place
			written++
		}
	}
	if written != 6 || last != d.n-1 {
		t.Errorf("%d transactions, stored up to %d of %d; want 6 and all but one", written, last, d.n)
	}
	killed := &diary{news: true, wait: true}
	r = New(db, both(killed), status.Daemon{Name: "metrics-collector", Started: time.Now()}, "ship", r.log)
	for range 4 {
		round(r)
	}
	if place, _, _ := stored(t, db); place != killed.n-1 {
		t.Errorf("after a kill: at %d of %d, want all but one", place, killed.n)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if place, count, rows := stored(t, db); place != last+3 || count != place || rows != place || killed.n != place {
		t.Errorf("after a kill at %d and a stop: at %d, counted %d, %d rows, found %d", last, place, count, rows, killed.n)
	}
}

func TestAResumingCollectorWithMoreToReadRunsAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{news: true, soon: true}
		r, _ := mustSampler(t, &log, every(5*time.Second, "stream.events", d))
		for begun := time.Now(); time.Since(begun) < 10*time.Second; {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(next)
		}
		if d.n < 9 {
			t.Errorf("asked %d times in 10 s", d.n)
		}
	})
}

// TestARoundWithoutSamplesWritesNothing: the file's log does not grow, and the
// heartbeat is never late.
func TestARoundWithoutSamplesWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{}
		r, db := mustSampler(t, &log, every(5*time.Second, "stream.events", d))
		written, wal := 0, int64(0)
		for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sizes, err := db.Sizes()
			if err != nil {
				t.Fatal(err)
			}
			if sizes.WAL != wal {
				wal = sizes.WAL
				written++
			}
			rows, err := db.Statuses(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if row.Component == status.CollectorRow && time.Since(time.UnixMilli(row.HeartbeatMs)) > 10*time.Second {
					t.Errorf("the heartbeat is %s old", time.Since(time.UnixMilli(row.HeartbeatMs)))
				}
			}
			time.Sleep(next)
		}
		if d.asked < 55 {
			t.Errorf("asked %d times", d.asked)
		}
		if written > 40 || written < 25 {
			t.Errorf("%d transactions in 5 minutes, want one in 10 s", written)
		}
	})
}

// The first round only learns where resumers stopped: one that may find nothing is due
// at once then, and only after that as seldom as one that found nothing.
func TestAResumingCollectorThatDidNotRunYetDiffersFromOneThatFoundNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		d := &diary{}
		resumer := every(5*time.Second, "stream.events", d)
		resumer.Optional = true
		r, _ := mustSampler(t, &log, resumer, every(time.Minute, "a", good("a")))
		var asked []time.Duration
		for begun := time.Now(); time.Since(begun) < time.Minute; {
			was := d.asked
			next, err := r.Round(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d.asked > was {
				asked = append(asked, time.Since(r.begun))
			}
			time.Sleep(next)
		}
		if want := []time.Duration{0, 30 * time.Second}; !slices.Equal(asked, want) {
			t.Errorf("ran at %v, want %v", asked, want)
		}
	})
}
