package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// A board is a machine whose wall clock can be set. Its samples say in their
// value how long after the boot they were taken, in seconds.
type board struct {
	t      *testing.T
	db     *DB
	boot   string
	runs   int
	up     time.Duration // since boot
	offset time.Duration // of the wall clock, from 1970
}

func (b *board) now() status.Moment {
	return status.Moment{Wall: time.Unix(0, 0).Add(b.offset + b.up), Boot: b.up}
}

// start begins a session.
func (b *board) start() {
	b.t.Helper()
	b.runs++
	s := Session{ID: fmt.Sprintf("%s-%d", b.boot, b.runs), Start: b.now().Wall, Metadata: map[string]string{"boot_id": b.boot}}
	if err := b.db.StartSession(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

// restart boots the machine again.
func (b *board) restart(boot string, offset time.Duration) {
	b.boot, b.runs, b.up, b.offset = boot, 0, 10*time.Second, offset
	b.start()
}

// sample records n samples, 10 s apart.
func (b *board) sample(n int) {
	b.t.Helper()
	for range n {
		b.up += 10 * time.Second
		at := b.now()
		mustRecord(b.t, b.db, Update{
			Groups: []Group{{Priority: 2, Samples: []metric.Sample{
				{Name: "a", TimeMs: at.Wall.UnixMilli(), Value: b.up.Seconds()}, {Name: "b", TimeMs: at.Wall.UnixMilli(), Value: b.up.Seconds()},
			}}},
			Status: []status.Row{{Component: "collector", BootID: b.boot, HeartbeatMs: at.Wall.UnixMilli(), HeartbeatBootMs: at.Boot.Milliseconds()}},
		})
	}
}

// look records in the database whether the clock is trusted.
func (b *board) look(trusted bool) (all ClockChange) {
	b.t.Helper()
	for {
		c, err := b.db.RecordClock(b.t.Context(), Clock{Now: b.now(), BootID: b.boot, Trusted: trusted, By: "test"})
		if err != nil {
			b.t.Fatal(err)
		}
		all.Released, all.Lost = all.Released+c.Released, all.Lost+c.Lost
		if !c.More {
			return all
		}
	}
}

const year = 365 * 24 * time.Hour
