package store

import (
	"errors"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// contend stores the given number of pending samples and then lets everybody at
// the file at once: a collector with a tick every so often, which also deletes
// and checkpoints, a shipper that marks as fast as it can, and a health that
// asks ten times a second. It ends when all is delivered, fails on any error,
// SQLITE_BUSY above all, and returns how long each tick took.
func contend(t *testing.T, dir, synchronous string, backlog int, every time.Duration) (took []time.Duration) {
	t.Helper()
	path := filepath.Join(dir, "metrics.db")
	open := func(o Options) *DB {
		o.Device = "board-1"
		db, err := Open(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	collector := open(Options{Synchronous: synchronous})
	shipper := open(Options{Synchronous: "NORMAL"})
	health, err := OpenReader(t.Context(), path, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer health.Close()
	const n = 60
	for at, stored := int64(1), 0; stored < backlog; at += 50 {
		var samples []metric.Sample
		for i := range int64(50) {
			samples = append(samples, defaultTick(at+i, n)...)
		}
		stored += mustRecord(t, collector, Update{Groups: []Group{{Priority: 2, Samples: samples}}})
	}
	mustCheckpoint(t, collector, 0)

	drained := make(chan struct{}) // the backlog is shipped: ticks end
	ticked := make(chan struct{})  // no tick comes any more
	var all sync.WaitGroup
	recorded := 0
	all.Go(func() { // collecting
		defer close(ticked)
		beat := time.NewTicker(every)
		defer beat.Stop()
		for at := int64(1 << 40); ; at += 10 {
			begun := time.Now()
			stored, err := collector.Record(t.Context(), Update{Groups: []Group{{Priority: 2, Samples: defaultTick(at, n)}}})
			if err != nil {
				t.Error(err)
				return
			}
			took = append(took, time.Since(begun))
			recorded += stored
			select {
			case <-drained:
				return
			case <-beat.C:
			}
		}
	})
	all.Go(func() { // keeping
		var sweep Sweep
		for i := 0; ; i++ {
			_, done, err := collector.DeleteDelivered(t.Context(), &sweep, 1<<40, nil)
			if err == nil && i%50 == 0 {
				_, err = collector.Checkpoint(t.Context(), 16<<20)
			}
			if err != nil {
				t.Error(err)
				return
			}
			if done {
				sweep = Sweep{}
			}
			select {
			case <-ticked:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	asked := 0
	all.Go(func() { // asking
		beat := time.NewTicker(100 * time.Millisecond)
		defer beat.Stop()
		delivered := int64(0)
		for ; ; asked++ {
			s, err := health.Snapshot(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if s.Ledger.Delivered < delivered || s.Ledger.Pending < 0 || s.Ledger.Captured != s.Ledger.Delivered+s.Ledger.Pending {
				t.Errorf("a reader saw a ledger that does not balance: %+v after %d delivered", s.Ledger, delivered)
			}
			delivered = s.Ledger.Delivered
			select {
			case <-ticked:
				return
			case <-beat.C:
			}
		}
	})
	marked := 0
	all.Go(func() { // shipping
		var rows []Row
		over := false
		for {
			var err error
			if rows, err = shipper.Backlog(t.Context(), rows[:0], &Cursor{}, math.MaxInt64, true, 2500); err != nil {
				t.Error(err)
			}
			for i := 1; i < len(rows); i++ {
				if rows[i].ID() <= rows[i-1].ID() {
					err = errors.New("rows out of order")
					t.Error(err)
				}
			}
			m, ackErr := 0, error(nil)
			if err == nil {
				if m, ackErr = shipper.Acknowledge(t.Context(), rows, Receipt{BatchID: "b", At: time.Now()}, Update{}); ackErr != nil {
					t.Error(ackErr)
				}
				if m != len(rows) {
					t.Errorf("marked %d of %d rows: they were marked before", m, len(rows))
				}
			}
			marked += m
			if !over && (marked >= backlog || err != nil || ackErr != nil) {
				over = true
				close(drained)
			}
			if over {
				select {
				case <-ticked:
					if len(rows) < 2500 {
						return
					}
				default:
				}
				if err != nil || ackErr != nil {
					return
				}
			}
		}
	})
	all.Wait()
	for rest := 1; rest > 0; { // what came after the last reading
		rows, err := shipper.Newest(t.Context(), 10000)
		if err != nil {
			t.Fatal(err)
		}
		if rest, err = shipper.Acknowledge(t.Context(), rows, Receipt{BatchID: "b", At: time.Now()}, Update{}); err != nil {
			t.Fatal(err)
		}
		marked += rest
	}
	l := mustBalance(t, collector)
	if l.Pending != 0 || l.Lost != 0 || l.Delivered != l.Captured || int(l.Delivered) != marked || int(l.Captured) < backlog+recorded {
		t.Errorf("%d stored by ticks, %d marked, %+v", recorded, marked, l)
	}
	if asked < 3 || len(took) < 10 {
		t.Errorf("%d ticks and %d questions: the test is void", len(took), asked)
	}
	return took
}

func TestNoQueryFailsWhileABacklogIsSent(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	took := contend(t, t.TempDir(), "NORMAL", 400_000, 5*time.Millisecond)
	t.Logf("%d ticks", len(took))
}
