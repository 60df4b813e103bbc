package store

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// measure makes the measuring tests run: "print" for their figures, "check" to
// fail as well when one is over its budget.
var measure = flag.String("measure", "", "run the measurements: print, or check them against the budgets")

// defaultTick is a tick of the default collectors on a board with eight cores
// and five links: 60 samples, of which whole numbers and fractions about half.
func defaultTick(at int64, n int) []metric.Sample {
	samples := make([]metric.Sample, n)
	for i := range samples {
		s := metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", strconv.Itoa(i)), TimeMs: at}
		switch {
		case i < n/2:
			s.Value = float64((at/10+int64(i)*7919)%10000) / 100
		default:
			s.Name, s.Tags = "network.rx_bytes_total", metric.Tags("interface", "wwan"+strconv.Itoa(i))
			s.Value = float64(at/1000*int64(i+1)*1499 + int64(i))
		}
		samples[i] = s
	}
	return samples
}

// written is what this process caused to be written to storage, in bytes.
func written(t testing.TB) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("no /proc/self/io here:", err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "write_bytes:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("/proc/self/io has no write_bytes")
	return 0
}

// deviceWritten is what all programs wrote to the device under dir, in bytes:
// the journal of its filesystem included. Of use on a device of one's own.
func deviceWritten(t testing.TB, dir string) int64 {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", dev>>8&0xfff, dev&0xff|dev>>12&^0xff))
	if err != nil {
		return 0
	}
	sectors, err := strconv.ParseInt(strings.Fields(string(data))[6], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return sectors * 512
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// benchDir is where the measured files lie: METRICS_BENCH_DIR, or a temporary
// directory.
func benchDir(t testing.TB) string {
	if dir := os.Getenv("METRICS_BENCH_DIR"); dir != "" {
		dir, err := os.MkdirTemp(dir, "bench") //nolint:usetesting // on a filesystem of the caller's choice
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

// A day writes what the collector and the shipper of a default configuration
// write, in their two connections and their order.
type day struct {
	t                  testing.TB
	collector, shipper *DB
	tally              metric.Tally
	parts              map[string]*status.Component
	at                 int64
	rows               []Row
}

func newDay(t testing.TB, dir, synchronous string) *day {
	t.Helper()
	b := &day{t: t, parts: map[string]*status.Component{}, at: time.Now().Add(-48 * time.Hour).UnixMilli()}
	for _, c := range []struct {
		into        **DB
		synchronous string
	}{{&b.collector, synchronous}, {&b.shipper, "NORMAL"}} {
		db, err := Open(t.Context(), filepath.Join(dir, "metrics.db"), Options{Device: "board-1", Synchronous: c.synchronous})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		*c.into = db
	}
	if err := b.collector.StartSession(t.Context(), Session{ID: "s", Start: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return b
}

// status moves the components on and returns their rows.
func (b *day) status(components ...string) (all []status.Row) {
	now := status.Moment{Wall: time.UnixMilli(b.at), Boot: time.Duration(b.at) * time.Millisecond}
	for _, c := range components {
		p := b.parts[c]
		if p == nil {
			p = status.NewComponent(status.Daemon{Name: "metrics", Version: "1.2.3", BootID: "3f0c2a44-9c1e-4d5b-9d53-1f2e7a0b6c55", Started: now.Wall}, c, 10*time.Second)
			b.parts[c] = p
		}
		p.Succeed(now, 30)
		all = append(all, p.Row())
	}
	return all
}

// tick stores n samples, as each ten seconds, and what is said and counted with
// them: two collectors are due each time, five more each third, and the counts
// are kept once a minute.
func (b *day) tick(n int) {
	b.t.Helper()
	due := []string{"cpu.usage", "network.traffic"}
	if b.at/10_000%3 == 0 {
		due = append(due, "cpu.temperature", "memory.usage", "disk.io", "system.load", "disk.usage")
	}
	components := []string{"collector"}
	for _, c := range due {
		components = append(components, "collector/"+c)
		b.tally.Add("collector.metrics_collected_total", 9, "collector", c)
		b.tally.Observe("collector.collection_duration_seconds", 0.0003, "collector", c)
	}
	b.at += 10_000
	u := Update{
		Groups: []Group{{Priority: 2, Samples: defaultTick(b.at, n)}},
		Status: b.status(components...),
	}
	if b.at/10_000%6 == 0 {
		u.Counters = b.tally.All()
	}
	if _, err := b.collector.Record(b.t.Context(), u); err != nil {
		b.t.Fatal(err)
	}
}

// ship reads what is pending and marks it as delivered, in chunks of up to n.
func (b *day) ship(n int) (shipped int) {
	b.t.Helper()
	for {
		var err error
		if b.rows, err = b.shipper.NewestSince(b.t.Context(), b.rows[:0], math.MinInt64, Except{}, n); err != nil {
			b.t.Fatal(err)
		}
		if len(b.rows) == 0 {
			return shipped
		}
		b.tally.Add("uploader.metrics_uploaded_total", float64(len(b.rows)))
		receipt := Receipt{BatchID: "0b7a3c1e-6a52-4c7e-9a35-5c1f1d6b2f10", ChunkIndex: shipped, At: time.UnixMilli(b.at)}
		if _, err := b.shipper.Acknowledge(b.t.Context(), b.rows, receipt, Update{Status: b.status("shipper")}); err != nil {
			b.t.Fatal(err)
		}
		shipped += len(b.rows)
	}
}

// A figure is one line of the table. A budget of 0 is none: times on a busy
// machine are for reading.
type figure struct {
	what   string
	value  float64
	unit   string
	budget float64
}

func show(t *testing.T, figures []figure) {
	t.Helper()
	for _, f := range figures {
		line := fmt.Sprintf("%-62s %10.4g %s", f.what, f.value, f.unit)
		if f.budget > 0 {
			line += fmt.Sprintf(" (budget %.4g)", f.budget)
		}
		fmt.Println(line)
		if *measure == "check" && f.budget > 0 && f.value > f.budget {
			t.Errorf("over budget: %s", line)
		}
	}
}

func skipUnmeasured(t *testing.T) {
	t.Helper()
	if *measure == "" {
		t.Skip("a measurement: run with -measure print, or make bench")
	}
}
