package store

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTheBytesThatADayCosts writes a day of the default workload, shipped each third
// tick, with a checkpoint each hour, for both settings of storage.synchronous.
func TestTheBytesThatADayCosts(t *testing.T) {
	skipUnmeasured(t)
	const ticks, n, hour = 8640, 60, 360
	for _, synchronous := range []string{"FULL", "NORMAL"} {
		dir := benchDir(t)
		b := newDay(t, dir, synchronous)
		var insert, ship, remove time.Duration
		took := make([]time.Duration, 0, ticks)
		process, device := written(t), deviceWritten(t, dir)
		for i := range ticks {
			begun, cpu := time.Now(), cpuTime()
			b.tick(n)
			took = append(took, time.Since(begun))
			insert += cpuTime() - cpu
			if i%3 == 2 {
				cpu := cpuTime()
				b.ship(2500)
				ship += cpuTime() - cpu
			}
			if i%hour == hour-1 {
				mustCheckpoint(t, b.collector, 16<<20)
			}
		}
		process, device = written(t)-process, deviceWritten(t, dir)-device
		sizes, err := b.collector.Sizes()
		if err != nil {
			t.Fatal(err)
		}
		cpu, before := cpuTime(), written(t)
		var sweep Sweep
		for done := false; !done; {
			if _, done, err = b.collector.DeleteDelivered(t.Context(), &sweep, math.MaxInt64, nil); err != nil {
				t.Fatal(err)
			}
		}
		remove = cpuTime() - cpu
		slices.Sort(took)
		per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / (ticks * n) }
		// Each figure's budget holds for the default, FULL; NORMAL must cost less.
		budget := map[string]float64{"FULL": 1, "NORMAL": 0.85}[synchronous]
		fmt.Printf("-- a day of %d samples, synchronous %s\n", ticks*n, synchronous)
		show(t, []figure{
			{"bytes written by the processes, per sample", float64(process) / (ticks * n), "B", 800 * budget},
			{"bytes written to the device, all programs, per sample", float64(device) / (ticks * n), "B", 0},
			{"bytes written by the processes, per day", float64(process) / 1e6, "MB", 0},
			{"bytes written by the processes to delete, per sample", float64(written(t)-before) / (ticks * n), "B", 100},
			{"database bytes per stored sample", float64(sizes.Database) / (ticks * n), "B", 40},
			{"write-ahead log after an hour", float64(sizes.WAL) / 1e6, "MB", 16 * 1.05},
			{"CPU per sample, insert", per(insert), "µs", 0},
			{"CPU per sample, ship: read and mark", per(ship), "µs", 0},
			{"CPU per sample, delete", per(remove), "µs", 0},
			{"tick, median", float64(took[ticks/2].Microseconds()) / 1000, "ms", 0},
			{"tick, 99 of 100 are shorter", float64(took[ticks*99/100].Microseconds()) / 1000, "ms", 0},
		})
	}
}

// TestSyncsOfATick counts the calls that wait for the device, with strace.
func TestSyncsOfATick(t *testing.T) {
	skipUnmeasured(t)
	if os.Getenv("METRICS_STRACED") != "" {
		b := newDay(t, benchDir(t), os.Getenv("METRICS_STRACED"))
		for i := range 300 {
			b.tick(60)
			if i%3 == 2 {
				b.ship(2500)
			}
		}
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed (Debian package strace)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("-- 300 ticks and 100 rounds of shipping")
	for _, synchronous := range []string{"FULL", "NORMAL"} {
		log := filepath.Join(t.TempDir(), "strace")
		cmd := exec.Command("strace", "-f", "-o", log, "-e", "trace=fsync,fdatasync", self, "-test.run=^TestSyncsOfATick$", "-measure=print")
		cmd.Env = append(os.Environ(), "METRICS_STRACED="+synchronous)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		syncs := strings.Count(string(data), "fsync(") + strings.Count(string(data), "fdatasync(")
		show(t, []figure{{"fsyncs per tick, synchronous " + synchronous, float64(syncs) / 300, "", map[string]float64{"FULL": 1.1, "NORMAL": 0.1}[synchronous]}})
	}
}

// TestReadingTheNewestOfManyPending measures the shipper's two queries, and
// what they take at a million pending rows against a hundred thousand.
func TestReadingTheNewestOfManyPending(t *testing.T) {
	skipUnmeasured(t)
	b := newDay(t, benchDir(t), "NORMAL")
	median := func(query func()) float64 {
		var took []time.Duration
		for range 51 {
			begun := time.Now()
			query()
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		return float64(took[len(took)/2].Nanoseconds()) / 1e6
	}
	var fresh, backlog []float64
	for _, pending := range []int64{100_000, 1_000_000} {
		for l := (Ledger{}); l.Pending < pending; {
			for range 100 {
				b.tick(600)
			}
			mustCheckpoint(t, b.collector, 16<<20)
			var err error
			if l, _, err = b.collector.Ledger(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		fresh = append(fresh, median(func() {
			var err error
			if b.rows, err = b.shipper.NewestSince(t.Context(), b.rows[:0], math.MinInt64, Except{}, 2500); err != nil || len(b.rows) != 2500 {
				t.Fatal(len(b.rows), err)
			}
		}))
		backlog = append(backlog, median(func() {
			var err error
			if b.rows, err = b.shipper.Backlog(t.Context(), b.rows[:0], &Cursor{}, math.MaxInt64, true, 2500); err != nil || len(b.rows) != 2500 {
				t.Fatal(len(b.rows), err)
			}
		}))
	}
	fmt.Println("-- the shipper's queries, 2500 rows, median")
	show(t, []figure{
		{"newest of 100,000 pending", fresh[0], "ms", 0},
		{"newest of 1,000,000 pending", fresh[1], "ms", 10},
		{"oldest of 100,000 pending", backlog[0], "ms", 0},
		{"oldest of 1,000,000 pending", backlog[1], "ms", 10},
		{"a million against a hundred thousand, newest", fresh[1] / fresh[0], "times", 5},
		{"a million against a hundred thousand, oldest", backlog[1] / backlog[0], "times", 5},
	})
}

// TestTicksWhileAMillionAreShipped measures how late a tick gets, against ticks with
// nothing else at work.
func TestTicksWhileAMillionAreShipped(t *testing.T) {
	skipUnmeasured(t)
	const every = 10 * time.Millisecond
	at := func(took []time.Duration, share int) float64 {
		slices.Sort(took)
		return float64(took[len(took)*share/1000].Microseconds()) / 1000
	}
	alone := at(tickAlone(t, benchDir(t), "FULL", 1000, every), 990)
	took := contend(t, benchDir(t), "FULL", 1_000_000, every)
	most := at(took, 990)
	fmt.Printf("-- %d ticks while 1,000,000 samples are shipped, health is asked and old samples are deleted\n", len(took))
	show(t, []figure{
		{"tick, median", at(took, 500), "ms", 0},
		{"tick, 99 of 100 are shorter", most, "ms", 0},
		{"tick with nothing else at work, 99 of 100 are shorter", alone, "ms", 0},
		{"one against the other", most / alone, "times", 8},
		{"tick, the longest", float64(took[len(took)-1].Microseconds()) / 1000, "ms", 0},
	})
}

// tickAlone returns how long ticks take when nothing else uses the database.
func tickAlone(t *testing.T, dir, synchronous string, ticks int, every time.Duration) (took []time.Duration) {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(dir, "metrics.db"), Options{Device: "board-1", Synchronous: synchronous})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	beat := time.NewTicker(every)
	defer beat.Stop()
	for at := range int64(ticks) {
		begun := time.Now()
		mustRecord(t, db, Update{Groups: []Group{{Priority: 2, Samples: defaultTick(1<<40+10*at, 60)}}})
		took = append(took, time.Since(begun))
		<-beat.C
	}
	return took
}
