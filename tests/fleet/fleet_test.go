package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the table of docs/fleet.md")

// startVictoria runs a real VictoriaMetrics and returns its address.
func startVictoria(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "-storageDataPath="+t.TempDir(), "-httpListenAddr="+addr, "-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y", "-loggerLevel=ERROR")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/health"); err == nil {
			resp.Body.Close()
			return "http://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatal("VictoriaMetrics does not answer")
		}
	}
}

// at returns how many samples of a fleet the server has.
func at(t *testing.T, base, fleet string) (n int) {
	t.Helper()
	for _, path := range []string{"/internal/force_flush", "/api/v1/export?match[]=" + `{device_id=~"` + fleet + `-.*"}`} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
		for line := range strings.Lines(string(text)) {
			_, times, _ := strings.Cut(line, `"timestamps":[`)
			if times != "" {
				n += strings.Count(times, ",") + 1
			}
		}
	}
	return n
}

// TestTheArithmetic lets as many real shippers as this machine holds beside
// other work do what docs/fleet.md reckons with.
func TestTheArithmetic(t *testing.T) {
	base := startVictoria(t)
	p := plan{name: "spread", url: base + "/api/v1/import", boards: 16, interval: 3 * time.Second, rounds: 4, outage: time.Hour, spread: true}
	s, err := run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	report(t.Output(), p, s)
	l := defaults(p.boards)

	if s.Delivered < s.Stored {
		t.Errorf("stored %d samples, delivered %d", s.Stored, s.Delivered)
	}
	if got := at(t, base, p.name); got != s.Delivered {
		t.Errorf("the server holds %d samples, %d were delivered", got, s.Delivered)
	}
	near(t, "samples a second of a board", float64(s.Stored)/s.Measured.Seconds(), l.SamplesPerSecond, 0.1)
	near(t, "bytes a sample in rounds", s.SteadyBytes, l.SteadyBytes, 0.15)
	near(t, "bytes a sample while draining", s.DrainBytes, l.DrainBytes, 0.15)
	if s.Connections != l.connections() {
		t.Errorf("%d connections, want one a board: %d", s.Connections, l.connections())
	}

	spreadPlan := p
	// The same boards without a phase of their own come at once.
	p.name, p.spread, p.outage, p.rounds = "together", false, 0, 2
	together, err := run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	report(t.Output(), p, together)
	l.Interval = p.interval
	near(t, "requests a second", s.rate(spreadPlan), l.requests(), 0.15)
	spread, all := l.surge(p.interval/8, true), l.surge(p.interval/8, false)
	if float64(s.Worst) > spread || float64(s.Worst) < spread/4 {
		t.Errorf("in the worst eighth of an interval %d rounds begin, reckoned are at most %.0f", s.Worst, spread)
	}
	if float64(together.Worst) <= spread || float64(together.Worst) > all {
		t.Errorf("without the spread %d rounds begin in the worst eighth, want more than %.0f and at most %.0f", together.Worst, spread, all)
	}
}

func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if math.Abs(got-want) > part*want {
		t.Errorf("%s: %.2f, docs/fleet.md reckons with %.2f", what, got, want)
	}
}

// TestTheTableIsTheArithmetic holds docs/fleet.md to figures.go.
func TestTheTableIsTheArithmetic(t *testing.T) {
	const path = "../../docs/fleet.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)(<!-- fleet:[^\n]*-->\n).*(<!-- /fleet -->)`)
	if !part.Match(text) {
		t.Fatal("docs/fleet.md has no place for the table")
	}
	want := part.ReplaceAllString(string(text), "${1}\n"+table(defaults(100), defaults(10_000), defaults(1_000_000))+"\n${2}")
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("docs/fleet.md does not show the figures as they are: run make golden")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNumbersAreForPeople(t *testing.T) {
	for v, want := range map[float64]string{0.3: "0.3", 3: "3", 999: "999", 1000: "1,000", 6e6: "6,000,000"} {
		if got := whole(v); got != want {
			t.Errorf("whole(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{12: "12 B", 3600: "3.6 kB", 57e6: "57 MB"} {
		if got := size(v); got != want {
			t.Errorf("size(%v) = %q, want %q", v, got, want)
		}
	}
	if fmt.Sprint(defaults(100).surge(time.Second, false)) != "100" {
		t.Error("without the spread everybody comes at once")
	}
}

// TestTheWorstSecond throws the dice for many fleets: about one in a hundred may
// have a second with more rounds than is reckoned, and none is far below it.
func TestTheWorstSecond(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for boards, fleets := range map[int]int{2: 2000, 100: 2000, 10_000: 200} {
		l := defaults(boards)
		limit, over, lowest := int(l.surge(time.Second, true)), 0, boards
		for range fleets {
			phases := make([]float64, boards, 2*boards)
			for i := range phases {
				phases[i] = rnd.Float64() * l.Interval.Seconds()
			}
			slices.Sort(phases)
			for _, p := range phases { // the next interval
				phases = append(phases, p+l.Interval.Seconds())
			}
			worst, first := 0, 0
			for i, p := range phases {
				for phases[first]+1 < p {
					first++
				}
				worst = max(worst, i-first+1)
			}
			if worst > limit {
				over++
			}
			lowest = min(lowest, worst)
		}
		t.Logf("%d boards: at most %d reckoned, %d fleets of %d had more; the least was %d", boards, limit, over, fleets, lowest)
		if over > fleets/50 || limit > 2*lowest+2 {
			t.Errorf("%d boards: at most %d reckoned, but %d fleets of %d had more; the least was %d", boards, limit, over, fleets, lowest)
		}
	}
}
