package tests

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSoak runs the three daemons for SOAK_MINUTES against a VictoriaMetrics that
// is stopped, killed and started, over a link that is cut and mended, and kills
// and freezes one of the daemons now and then. `make soak` runs it; its last
// lines are the summary.
func TestSoak(t *testing.T) {
	if os.Getenv("SOAK_MINUTES") == "" {
		t.Skip("SOAK_MINUTES is not set")
	}
	minutes := fromEnv(t, "SOAK_MINUTES", 30)
	seed := fromEnv(t, "SOAK_SEED", int(time.Now().UnixNano()&0x7fffffff))
	fmt.Printf("SOAK_SEED=%d SOAK_MINUTES=%d\n", seed, minutes)
	port := mustReservePort(t)
	s := &soak{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), vm: newVictoria(t), daemons: map[string]*program{}, figures: map[string]*figures{}, events: map[string]int{}}
	s.wire = newWire(t, s.vm.base)
	s.health = "http://127.0.0.1:" + port + "/health"
	s.board = newBoard(t, s.wire.url(), "", fmt.Sprintf("health: {listen: '127.0.0.1:%s'}\n", port))
	s.witness = newWitness(s.board.db)
	for _, name := range soakDaemons {
		s.daemons[name] = s.board.start(name)
		s.figures[name] = &figures{}
	}
	end := time.Now().Add(time.Duration(minutes) * time.Minute)
	for turn := 2; time.Now().Before(end); turn++ {
		s.watch(time.Duration(4000+s.rng.IntN(8000)) * time.Millisecond)
		s.board.setCounters(turn)
		s.event()
	}
	s.watch(5 * time.Second)
	s.finish()
}

var soakDaemons = []string{"metrics-collector", "metrics-shipper", "metrics-health"}

type soak struct {
	t       *testing.T
	rng     *rand.Rand
	vm      *victoria
	wire    *wire
	board   *board
	witness *witness
	health  string

	daemons map[string]*program
	figures map[string]*figures
	events  map[string]int
	walMax  int64
	answers [3]int // of health: below 400, 503, none
}

// figures are what a daemon took at its start, at most and in the end.
type figures struct {
	pid          int
	rss, fds     [3]int64 // start, most, end; KiB
	restarts     int
	firstReading time.Time
}

// watch reads the figures twice a second for a while.
func (s *soak) watch(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(500 * time.Millisecond) {
		for _, name := range soakDaemons {
			s.figures[name].read(s.daemons[name].cmd.Process.Pid)
		}
		if info, err := os.Stat(s.board.db + "-wal"); err == nil {
			s.walMax = max(s.walMax, info.Size())
		}
		s.witness.look()
		switch _, status := get(s.health); status {
		case 0:
			s.answers[2]++
		case http.StatusServiceUnavailable:
			s.answers[1]++
		default:
			s.answers[0]++
		}
	}
}

func (f *figures) read(pid int) {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	rss, err2 := statusKiB(pid, "VmRSS:")
	if err != nil || err2 != nil {
		return
	}
	if f.pid != pid {
		if f.pid != 0 {
			f.restarts++
		}
		f.pid, f.firstReading = pid, time.Now()
	}
	for i, now := range []int64{rss, int64(len(fds))} {
		of := []*[3]int64{&f.rss, &f.fds}[i]
		if f.restarts == 0 && time.Since(f.firstReading) < 3*time.Second {
			of[0] = now
		}
		of[1], of[2] = max(of[1], now), now
	}
}

// event lets one thing go wrong, and sets it right.
func (s *soak) event() {
	long := time.Duration(1000+s.rng.IntN(15000)) * time.Millisecond
	name := soakDaemons[s.rng.IntN(len(soakDaemons))]
	p := s.daemons[name]
	switch n := s.rng.IntN(100); {
	case n < 30:
		s.events["server stopped"]++
		s.vm.run.stop()
		s.watch(long)
		s.vm.start()
	case n < 45:
		s.events["server killed"]++
		s.vm.run.kill()
		s.watch(long / 4)
		s.vm.start()
	case n < 65:
		s.events["link cut"]++
		s.wire.cut()
		s.watch(long)
		s.wire.mend()
	case n < 90:
		s.events[name+" killed"]++
		p.kill()
		s.daemons[name] = s.board.start(name)
	default:
		s.events[name+" frozen"]++
		p.signal(syscall.SIGSTOP)
		s.watch(long / 2)
		p.signal(syscall.SIGCONT)
	}
}

// finish lets all be sent, compares, and prints the summary.
func (s *soak) finish() {
	t, b := s.t, s.board
	wal, _ := os.Stat(b.db + "-wal")
	s.daemons["metrics-collector"].stop()
	b.awaitAllSent(t)
	s.daemons["metrics-shipper"].stop()
	s.daemons["metrics-health"].stop()
	b.drain()
	_, faults, err := s.witness.recall()
	if err != nil || len(faults) > 0 {
		t.Errorf("%v %q", err, faults)
	}
	books, err := reckon(b.db)
	if err != nil {
		t.Error(err)
	}
	count := mustBeThere(t, b.db, s.vm.base)
	missing, doubled := s.compare()
	sent, again := s.wire.counts()
	gap, ok := b.number(`SELECT coalesce(max(gap), 0) FROM (SELECT timestamp_ms - lag(timestamp_ms) OVER (ORDER BY timestamp_ms) AS gap
		FROM samples JOIN series ON id = series_id WHERE metric_name = 'system.load1')`)
	if !ok {
		t.Error("the longest gap cannot be read")
	}
	lost := books.Lost + int64(missing)
	if lost != 0 || doubled != 0 {
		t.Errorf("lost %d, doubled %d", lost, doubled)
	}
	fmt.Printf("events       %s\n", strings.Trim(fmt.Sprint(s.events), "map[]"))
	fmt.Printf("collected    %d samples\n", books.Captured)
	fmt.Printf("delivered    %d, compared with the server's %d\n", books.Delivered, count)
	fmt.Printf("doubled      %d (%d of %d went over the wire again)\n", doubled, again, sent)
	fmt.Printf("lost         %d (set aside %d)\n", lost, books.Rejected)
	fmt.Printf("longest gap  %.1f s between two rounds of the collector\n", float64(gap)/1000)
	fmt.Printf("health       %d answers, %d of them 503, %d times none\n", s.answers[0]+s.answers[1], s.answers[1], s.answers[2])
	for _, name := range soakDaemons {
		f := s.figures[name]
		fmt.Printf("%-18s RSS start %.1f MB, max %.1f, end %.1f; fds start %d, max %d, end %d; started again %d times\n", name,
			float64(f.rss[0])/1024, float64(f.rss[1])/1024, float64(f.rss[2])/1024, f.fds[0], f.fds[1], f.fds[2], f.restarts)
	}
	var walEnd int64
	if wal != nil {
		walEnd = wal.Size()
	}
	db, err := os.Stat(b.db)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("WAL          max %.1f MB, end %.1f; database %.1f MB\n", float64(s.walMax)/1e6, float64(walEnd)/1e6, float64(db.Size())/1e6)
	for _, name := range soakDaemons {
		text, err := os.ReadFile(filepath.Join(b.dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "panic: ") {
			t.Errorf("%s panicked", name)
		}
	}
}

// compare counts what is in only one of the database and the server.
func (s *soak) compare() (missing, doubled int) {
	want, err := storedSamples(s.board.db)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := exportedSamples(s.vm.base, false)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, one := range want {
		if _, found := slices.BinarySearch(got, one); !found {
			missing++
		}
	}
	return missing, len(got) - (len(want) - missing)
}
