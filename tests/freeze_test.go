package tests

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAFrozenDaemonStopsNoOtherAndLosesNothing stops each daemon with SIGSTOP:
// the collector while it holds the database's write lock, the shipper while an
// answer is on its way, the health server, and all of them at random moments.
// FREEZE_SECONDS is how long at most.
func TestAFrozenDaemonStopsNoOtherAndLosesNothing(t *testing.T) {
	t.Parallel()
	vm := newVictoria(t)
	w := newWire(t, vm.base)
	port := mustReservePort(t)
	b := newBoard(t, w.url(), "", fmt.Sprintf("health: {listen: '127.0.0.1:%s'}\n", port))
	f := &frozen{t: t, b: b, w: w, health: "http://127.0.0.1:" + port + "/health/live", longest: time.Duration(fromEnv(t, "FREEZE_SECONDS", 6)) * time.Second}
	collector, shipper, health := b.start("metrics-collector"), b.start("metrics-shipper"), b.start("metrics-health")
	f.mustGoOn("before anything", true, true, true)

	// Longer than the writers wait for each other.
	f.withLockHeld(collector, max(7*time.Second, f.longest), func() {
		f.mustGoOn("collector frozen with the lock", false, false, true)
	})
	f.mustGoOn("collector thawed", true, true, true)

	// Longer than a request may take: the server accepted it, and the shipper did not mark it.
	f.withRequest(shipper, max(6*time.Second, f.longest), func() {
		f.mustGoOn("shipper frozen", true, false, true)
	})
	f.mustGoOn("shipper thawed", true, true, true)

	f.freeze(health, f.some(), func() { f.mustGoOn("health frozen", true, true, false) })
	f.mustGoOn("health thawed", true, true, true)

	f.freeze(collector, f.some(), func() { f.mustGoOn("collector frozen", false, false, true) })
	for range 8 {
		p := []*program{collector, shipper, health}[rand.IntN(3)]
		p.signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond)
		p.signal(syscall.SIGCONT)
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	}
	f.mustGoOn("all thawed", true, true, true)

	collector.stop()
	shipper.stop()
	health.stop()
	b.drain()
	books, err := reckon(b.db)
	if err != nil || books.Captured != books.Delivered {
		t.Errorf("%+v %v", books, err)
	}
	count := mustBeThere(t, b.db, vm.base)
	sent, again := w.counts()
	if sent-again != count || again == 0 {
		t.Errorf("%d samples went over the wire, %d of them again, and %d are marked as delivered", sent, again, count)
	}
	t.Logf("%d samples delivered; %d went over the wire again", count, again)
}

type frozen struct {
	t       *testing.T
	b       *board
	w       *wire
	health  string
	longest time.Duration
}

func (f *frozen) some() time.Duration {
	return time.Second + time.Duration(rand.Int64N(int64(f.longest-time.Second)+1))
}

// mustGoOn waits for news of those that run: rows, samples at the server, an
// answer of the health server.
func (f *frozen) mustGoOn(when string, collector, shipper, health bool) {
	f.t.Helper()
	const newest = "SELECT coalesce(max(timestamp_ms), 0) FROM samples"
	if collector {
		before, _ := f.b.number(newest)
		await(f.t, when+": new rows", func() bool {
			now, ok := f.b.number(newest)
			return ok && now > before
		})
	}
	if shipper {
		before := len(f.w.passages())
		await(f.t, when+": samples at the server", func() bool { return len(f.w.passages()) > before })
	}
	if health {
		await(f.t, when+": an answer of health", func() bool { _, status := get(f.health); return status == 200 })
	}
}

// freeze stops a program for a time, and has others looked at meanwhile.
func (f *frozen) freeze(p *program, d time.Duration, meanwhile func()) {
	f.t.Helper()
	if !p.signal(syscall.SIGSTOP) {
		f.t.Fatalf("%s ended", p.name)
	}
	f.hold(p, d, meanwhile)
}

// hold keeps a stopped program stopped.
func (f *frozen) hold(p *program, d time.Duration, meanwhile func()) {
	f.t.Helper()
	thaw := time.Now().Add(d)
	meanwhile()
	time.Sleep(time.Until(thaw))
	p.signal(syscall.SIGCONT)
}

// withLockHeld stops the collector in a transaction: when the log changes it is
// stopped, and continued if no process holds the lock then.
func (f *frozen) withLockHeld(p *program, d time.Duration, meanwhile func()) {
	f.t.Helper()
	size := func() (mod time.Time) {
		if info, err := os.Stat(f.b.db + "-wal"); err == nil {
			mod = info.ModTime()
		}
		return mod
	}
	for range 400 {
		was := size()
		for until := time.Now().Add(2 * time.Second); size().Equal(was) && time.Now().Before(until); {
			time.Sleep(50 * time.Microsecond)
		}
		if !p.signal(syscall.SIGSTOP) {
			f.t.Fatal("the collector ended")
		}
		if f.locked() {
			f.hold(p, d, meanwhile)
			return
		}
		p.signal(syscall.SIGCONT)
	}
	f.t.Log("the collector was never caught in a transaction")
	f.freeze(p, d, meanwhile)
}

// locked says whether a process holds the write lock and keeps it.
func (f *frozen) locked() bool {
	db, err := sql.Open("sqlite3", "file:"+f.b.db+"?mode=rw&_busy_timeout=400&_txlock=immediate")
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return true
	}
	tx.Rollback()
	return false
}

// withRequest stops the shipper while the answer to a request is on its way.
func (f *frozen) withRequest(p *program, d time.Duration, meanwhile func()) {
	f.t.Helper()
	stopped, thawed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.w.watch(func(s stage) (lost bool) {
		if s == answered {
			once.Do(func() {
				p.signal(syscall.SIGSTOP)
				close(stopped)
				<-thawed
			})
		}
		return false
	})
	select {
	case <-stopped:
	case <-time.After(patience):
		f.t.Fatal("the shipper sends nothing")
	}
	f.hold(p, d, meanwhile)
	// It finds that its time is over before it finds the answer.
	time.Sleep(300 * time.Millisecond)
	close(thawed)
	f.w.watch(nil)
}
