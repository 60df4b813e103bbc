package tests

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestNothingIsLostOrDoubledOverKills ends the collector and the shipper with -9
// at random moments, apart and together, and compares all that was ever
// committed with what the server shows at the end. CRASH_ROUNDS is how often;
// CRASH_SEED replays a schedule.
func TestNothingIsLostOrDoubledOverKills(t *testing.T) {
	t.Parallel()
	rounds := fromEnv(t, "CRASH_ROUNDS", 200)
	seed := fromEnv(t, "CRASH_SEED", int(time.Now().UnixNano()&0x7fffffff))
	t.Logf("CRASH_SEED=%d CRASH_ROUNDS=%d", seed, rounds)
	vm := newVictoria(t)
	c := &crashes{rng: rand.New(rand.NewPCG(uint64(seed), 0)), wire: newWire(t, vm.base)}
	c.board = newBoard(t, c.wire.url(), fmt.Sprintf(", chunk_size: 10, batch_size: %d", crashBatch), "")
	c.witness = newWitness(c.board.db)
	c.calibrate()

	watching := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-watching:
				return
			case <-time.After(time.Duration(10+rand.IntN(60)) * time.Millisecond):
				c.witness.look()
			}
		}
	})
	for n := 0; c.rounds < rounds; n++ {
		if n > 2*rounds {
			t.Fatalf("%d of %d rounds killed nothing", n-c.rounds, n)
		}
		c.round(n)
	}
	close(watching)
	watch.Wait()
	for _, p := range []*program{c.collector, c.shipper} {
		if p != nil {
			p.kill()
		}
	}

	c.board.drain()
	seen, faults, err := c.witness.recall()
	if err != nil || len(faults) > 0 {
		t.Errorf("%v %q", err, faults)
	}
	books, err := reckon(c.board.db)
	if err != nil {
		t.Error(err)
	}
	if books.Captured != books.Delivered {
		t.Errorf("not all is delivered: %+v", books)
	}
	count := mustBeThere(t, c.board.db, vm.base)
	if int64(count) != books.Delivered {
		t.Errorf("%d rows, %d delivered", count, books.Delivered)
	}
	sent, again := c.wire.counts()
	if bound := 2 * crashBatch * c.kills["metrics-shipper"]; again > bound || sent-again != count {
		t.Errorf("%d samples went over the wire, %d of them again (at most %d: two requests for each kill of the shipper), and %d are marked as delivered", sent, again, bound, count)
	}
	for _, name := range []string{"metrics-collector", "metrics-shipper"} {
		if text, err := os.ReadFile(c.board.dir + "/" + name + ".log"); err != nil || bytes.Contains(text, []byte("DATA RACE")) {
			t.Errorf("%s: a data race, or no log (%v)", name, err)
		}
	}
	t.Logf("kills: collector %d, shipper %d; shipper with a request under way %d, collector while its log changed %d", c.kills["metrics-collector"], c.kills["metrics-shipper"], c.underWay.Load(), c.writing.Load())
	t.Logf("rows: committed %d, of them seen so from outside while it went on %d (%d looks), delivered %d; sent again over the wire %d, %.2f for each kill of the shipper",
		books.Captured, seen, c.witness.looks, books.Delivered, again, float64(again)/float64(max(1, c.kills["metrics-shipper"])))
	if !t.Failed() {
		t.Logf("all %d are at the server with their times and values, each once", count)
	}
}

// crashBatch is how many rows a request may hold: few, so that a shipper makes
// many of them in its short life.
const crashBatch = 40

// crashes is the state of the rounds.
type crashes struct {
	rng     *rand.Rand
	board   *board
	wire    *wire
	witness *witness

	collector, shipper *program
	lifetimes          map[string]time.Duration // of a run; follows how busy the machine is
	rounds             int                      // that killed something
	kills              map[string]int
	underWay           atomic.Int64
	writing            atomic.Int64
}

// calibrate measures how long a run takes here, now.
func (c *crashes) calibrate() {
	c.kills, c.lifetimes = map[string]int{}, map[string]time.Duration{}
	for _, name := range []string{"metrics-collector", "metrics-shipper", "metrics-collector", "metrics-shipper"} {
		begun := time.Now()
		c.board.start(name, "-once").wait()
		c.lifetimes[name] = min(max(time.Since(begun), 50*time.Millisecond), time.Second)
	}
	c.board.t.Logf("a run takes %v", c.lifetimes)
}

// A strike is the killing of one program: at a time, or when something happens,
// at the latest when that time has come.
type strike struct {
	at    time.Duration
	event bool
	stage stage // of the shipper's requests, with event
	count int   // of the event
	lost  bool  // the request goes down with its sender
	then  time.Duration
}

func (c *crashes) strike(name string, fresh bool) strike {
	life := c.lifetimes[name]
	s := strike{
		at: time.Duration(c.rng.Int64N(int64(life * 5 / 4))), event: c.rng.IntN(2) == 0, stage: stage(c.rng.IntN(int(stages))),
		count: 1 + c.rng.IntN(5), lost: c.rng.IntN(2) == 0, then: time.Duration(c.rng.Int64N(int64(4 * time.Millisecond))),
	}
	if s.event {
		s.at = min(3*life, time.Second)
	}
	if !fresh && c.rng.IntN(8) == 0 {
		s.at += time.Duration(c.rng.Int64N(int64(time.Second))) // into a daemon's later rounds
	}
	return s
}

// round has both programs run and kills one or both. The other one goes on into
// the next round.
func (c *crashes) round(n int) {
	c.board.setCounters(n + 2)
	freshCollector := c.revive(&c.collector, "metrics-collector")
	freshShipper := c.revive(&c.shipper, "metrics-shipper")
	collector, shipper := c.strike("metrics-collector", freshCollector), c.strike("metrics-shipper", freshShipper)
	var killed [2]bool
	switch c.rng.IntN(4) {
	case 0:
		killed[0] = c.killCollector(collector)
	case 1:
		killed[1] = c.killShipper(shipper)
	case 2: // each at its own time
		var both sync.WaitGroup
		both.Go(func() { killed[0] = c.killCollector(collector) })
		both.Go(func() { killed[1] = c.killShipper(shipper) })
		both.Wait()
	case 3: // at once
		var both sync.WaitGroup
		time.Sleep(shipper.at / 2)
		both.Go(func() { killed[0] = c.collector.kill() })
		both.Go(func() { killed[1] = c.shipper.kill() })
		both.Wait()
	}
	for i, p := range []**program{&c.collector, &c.shipper} {
		switch name := (*p).name; {
		case killed[i]:
			c.kills[name]++
			c.lifetimes[name] = min(c.lifetimes[name]*103/100, time.Second)
			*p = nil
		case (*p).ended():
			(*p).wait() // with status 0
			c.lifetimes[name] = max(c.lifetimes[name]*90/100, 50*time.Millisecond)
			*p = nil
		}
	}
	if killed[0] || killed[1] {
		c.rounds++
	}
}

// revive starts a program if it does not run: mostly for one pass, sometimes as
// the daemon it is.
func (c *crashes) revive(p **program, name string) (fresh bool) {
	daemon := c.rng.IntN(3) == 0
	if *p != nil && !(*p).ended() {
		return false
	}
	if *p != nil {
		(*p).wait()
	}
	if daemon {
		*p = c.board.start(name)
	} else {
		*p = c.board.start(name, "-once")
	}
	return true
}

// killShipper kills the shipper, if the strike says so at a stage of one of its
// requests: while the wire waits for this, the request stays at that stage.
func (c *crashes) killShipper(s strike) (killed bool) {
	p := c.shipper
	if !s.event {
		return after(p, s.at) && p.kill()
	}
	reached := make(chan bool)
	left := s.count
	var mu sync.Mutex
	c.wire.watch(func(at stage) (lost bool) {
		if at != s.stage {
			return false
		}
		mu.Lock()
		left--
		now := left == 0
		mu.Unlock()
		if !now {
			return false
		}
		if at == passed {
			time.Sleep(s.then)
		}
		killed := p.kill()
		if killed {
			c.underWay.Add(1)
		}
		reached <- killed
		return killed && at == arrived && s.lost
	})
	defer c.wire.watch(nil)
	select {
	case killed := <-reached:
		return killed
	case <-p.done:
	case <-time.After(s.at):
	}
	mu.Lock()
	struck := left <= 0
	left = -1
	mu.Unlock()
	if struck {
		return <-reached
	}
	return p.kill()
}

// killCollector kills the collector, if the strike says so when the log of the
// database changes under its hands.
func (c *crashes) killCollector(s strike) (killed bool) {
	p := c.collector
	if !s.event {
		return after(p, s.at) && p.kill()
	}
	stamp := func() string {
		info, err := os.Stat(c.board.db + "-wal")
		if err != nil {
			return ""
		}
		return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	}
	was, left, deadline := stamp(), s.count, time.Now().Add(s.at)
	for time.Now().Before(deadline) && !p.ended() {
		if now := stamp(); now != was {
			was = now
			if left--; left == 0 {
				time.Sleep(s.then / 4)
				if killed = p.kill(); killed {
					c.writing.Add(1)
				}
				return killed
			}
		}
		time.Sleep(100 * time.Microsecond)
	}
	return p.kill()
}

// after waits, and says whether the program still runs then.
func after(p *program, d time.Duration) bool {
	select {
	case <-p.done:
		return false
	case <-time.After(d):
		return true
	}
}

func fromEnv(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number above 0", name, text)
	}
	return n
}
