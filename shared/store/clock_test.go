package store

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

func TestHeldSamplesGetTheRightTimeAndAreReleased(t *testing.T) {
	now := 56 * year
	for _, c := range []struct {
		name     string
		run      func(b *board)
		pending  int // afterwards, all of them at the right time
		held     int64
		lost     int64
		releases int
	}{
		{"a clock of 1970", func(b *board) {
			b.look(false)
			b.sample(3)
			b.offset = now
		}, 6, 0, 0, 6},
		{"the clock was right", func(b *board) {
			b.offset = now
			b.look(false)
			b.sample(3)
		}, 6, 0, 0, 6},
		{"one interval slow", func(b *board) {
			b.offset = now - 10*time.Second
			b.look(false)
			b.sample(5)
			b.offset = now
		}, 10, 0, 0, 10},
		{"one interval fast", func(b *board) {
			b.offset = now + 10*time.Second
			b.look(false)
			b.sample(5)
			b.offset = now
		}, 10, 0, 0, 10},
		{"an hour fast, then an hour slow", func(b *board) {
			b.offset = now + time.Hour
			b.look(false)
			b.sample(3)
			b.offset = now - time.Hour
			b.sample(3)
			b.offset = now
		}, 12, 0, 0, 12},
		{"ten years fast, then ten slow, each seen", func(b *board) {
			b.offset = now + 10*year
			b.look(false)
			b.sample(3)
			b.offset = now - 10*year
			b.look(false)
			b.sample(3)
			b.offset = now
		}, 12, 0, 0, 12},
		{"a restart of the collector between", func(b *board) {
			b.look(false)
			b.sample(3)
			b.offset = 20 * year
			b.start()
			b.look(false)
			b.sample(3)
			b.offset = now
			b.start()
		}, 12, 0, 0, 12},
		{"two boots in 1970, the first never knew the time", func(b *board) {
			b.look(false)
			b.sample(3)
			b.restart("boot-2", 0)
			b.up += 3 * time.Second
			b.look(false)
			b.sample(4)
			b.offset = now
		}, 8, 6, 0, 8},
		{"two boots in 1970 at the very same times", func(b *board) {
			b.look(false)
			b.sample(3)
			b.restart("boot-2", 0)
			b.look(false)
			for i := range 4 { // with other values
				b.up += 10 * time.Second
				at := b.now()
				mustRecord(b.t, b.db, Update{
					Groups: []Group{{Samples: []metric.Sample{{Name: "a", TimeMs: at.Wall.UnixMilli(), Value: float64(-i - 1)}}}},
					Status: []status.Row{{Component: "collector", BootID: b.boot, HeartbeatMs: at.Wall.UnixMilli(), HeartbeatBootMs: at.Boot.Milliseconds()}},
				})
			}
			b.offset = now
		}, -1, 6, 3, 1},
		{"another writer before the collector said anything", func(b *board) {
			b.look(false)
			b.restart("boot-2", 0)
			session := b.db.session
			b.db.session = 0
			b.sample(2)
			b.db.session = session
			b.look(false)
			b.sample(1)
			b.offset = now
		}, 6, 0, 0, 6},
		{"another writer while the clock is wrong", func(b *board) {
			b.look(false)
			session := b.db.session
			b.db.session = 0
			b.sample(2)
			b.offset = now
			b.sample(2) // it has seen the step and the collector has not
			b.db.session = session
		}, 8, 0, 0, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &board{t: t, db: mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))}
			b.restart("boot-1", 0)
			c.run(b)
			if l := mustAudit(t, b.db); l.Pending != 0 {
				t.Errorf("%d samples were not held", l.Pending)
			}
			if got := b.look(true); got.Released != c.releases {
				t.Errorf("released %d, want %d", got.Released, c.releases)
			}
			l := mustAudit(t, b.db)
			if l.Held != c.held || l.Lost != c.lost {
				t.Errorf("%+v, want %d held and %d lost", l, c.held, c.lost)
			}
			rows, err := b.db.Newest(t.Context(), 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if want := now.Milliseconds() + int64(r.Value*1000); c.pending >= 0 && r.TimeMs != want {
					t.Errorf("%s taken at %vs has the time %s, want %s", r.Series.Name, r.Value, time.UnixMilli(r.TimeMs), time.UnixMilli(want))
				}
			}
			if c.pending >= 0 && len(rows) != c.pending {
				t.Errorf("%d samples pending, want %d", len(rows), c.pending)
			}
			last, offset, ok, err := b.db.RecordedClock(t.Context(), b.boot)
			if !last.Trusted || last.By != "test" || offset != b.offset || !ok || err != nil {
				t.Errorf("noted %+v, %v, %v, %v", last, offset, ok, err)
			}
		})
	}
}

func TestALongHoldIsReleasedInSlices(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		b := &board{t: t, db: mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))}
		b.restart("boot-1", 56*year)
		b.look(false)
		var samples []metric.Sample
		const n = 2*releaseSlice + 5
		at := b.now()
		for i := range n { // an hour lies between two slices: they run into each other
			samples = append(samples, metric.Sample{Name: "a", TimeMs: at.Wall.UnixMilli() + int64(i)*500, Value: float64(i)})
		}
		mustRecord(t, b.db, Update{Groups: []Group{{Samples: samples}}})
		b.offset += step
		if got := b.look(true); got.Released != n || got.Lost != 0 {
			t.Errorf("step %v: %+v, want %d released", step, got, n)
		}
		if l := mustAudit(t, b.db); l.Pending != n || l.Lost != 0 {
			t.Errorf("step %v: %+v", step, l)
		}
		var min int64
		if err := b.db.read.QueryRow("SELECT min(timestamp_ms) FROM samples").Scan(&min); err != nil || min != at.Wall.Add(step).UnixMilli() {
			t.Errorf("step %v: the first is at %d, %v", step, min, err)
		}
	}
}

func TestALaterStepNeitherDoublesNorReordersWhatIsStored(t *testing.T) {
	b := &board{t: t, db: mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))}
	b.restart("boot-1", 56*year)
	b.look(true)
	b.sample(6)
	stored := func() map[string]float64 {
		rows, err := b.db.Newest(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, r := range rows {
			all[fmt.Sprint(r.Series.Name, r.TimeMs)] = r.Value
		}
		return all
	}
	before := stored()
	for _, step := range []time.Duration{-30 * time.Second, 30 * time.Second, -time.Hour, 10 * year, -10 * year} {
		b.offset += step
		b.look(true)
		b.sample(3)
	}
	after := stored()
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if after[key] != before[key] {
			t.Errorf("%s was %v and is %v", key, before[key], after[key])
		}
	}
	// Back 30 s, the first samples meet those that are there.
	l := mustAudit(t, b.db)
	if l.Lost == 0 || l.Captured != 12+5*6 || int(l.Pending) != len(after) {
		t.Errorf("%+v with %d stored", l, len(after))
	}
}

func TestTheSameSampleAgainIsNoLoss(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	u := Update{Groups: []Group{{Samples: tick(1000, 100)}}}
	for range 3 {
		mustRecord(t, db, u)
	}
	if l := mustAudit(t, db); l.Captured != 100 || l.Lost != 0 {
		t.Errorf("%+v", l)
	}
	for i := range u.Groups[0].Samples[:7] {
		u.Groups[0].Samples[i].Value = -1
	}
	if n := mustRecord(t, db, u); n != 0 {
		t.Errorf("%d new", n)
	}
	l := mustAudit(t, db)
	_, losses, err := db.Ledger(t.Context())
	if err != nil || l.Captured != 107 || len(losses) != 1 || losses[0].Reason != status.LostSameTime || losses[0].Count != 7 {
		t.Errorf("%+v, %+v, %v", l, losses, err)
	}
}

func TestSamplesWithATrustedClockAreNeverHeld(t *testing.T) {
	b := &board{t: t, db: mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))}
	b.restart("boot-1", 0)
	b.look(false)
	mustRecord(t, b.db, Update{Groups: []Group{{Samples: tick(5, 3), ClockTrusted: true}, {Samples: tick(7, 4)}}})
	if l := mustAudit(t, b.db); l.Pending != 3 || l.Held != 4 {
		t.Errorf("%+v", l)
	}
}
