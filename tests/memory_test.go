package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMemoryOfAMillionPending measures the shipper as it is installed, with a
// million samples pending: while nothing answers, and while all of them go to a
// real server at full speed. MEASURE=print prints, MEASURE=check also fails when
// it is over its budget; MEASURE_BIN is where the program is.
func TestMemoryOfAMillionPending(t *testing.T) {
	measure := os.Getenv("MEASURE")
	if measure == "" {
		t.Skip("a measurement: run make bench")
	}
	const pending = 1_000_000
	vm := newVictoria(t)
	vm.run.stop()
	b := newBoard(t, vm.base, "", "")
	b.bin = os.Getenv("MEASURE_BIN")
	b.age(pending)
	shipper := b.start("metrics-shipper")
	most := func(until func() bool) (all, own float64) {
		for !until() {
			all, own = max(all, resident(t, shipper.cmd.Process.Pid, "VmRSS:")), max(own, resident(t, shipper.cmd.Process.Pid, "RssAnon:"))
			time.Sleep(20 * time.Millisecond)
		}
		return all, own
	}
	fmt.Println("-- the shipper's memory, as it is installed")
	begun := time.Now()
	waiting, waitingOwn := most(func() bool { return time.Since(begun) > 12*time.Second })
	vm.start()
	var first, last time.Time
	draining, drainingOwn := most(func() bool {
		left, ok := b.number("SELECT count(*) FROM (SELECT 1 FROM samples WHERE uploaded = 0 LIMIT 1000000)")
		if ok && left < pending && first.IsZero() {
			first = time.Now()
		}
		last = time.Now()
		return ok && left == 0 || time.Since(begun) > 5*time.Minute
	})
	for _, f := range []struct {
		what         string
		value, limit float64
	}{
		{"resident, 1,000,000 pending and no server", waiting, 16},
		{"of that the process's own, and not the program's file", waitingOwn, 6},
		{"resident, 1,000,000 going to the server at full speed", draining, 20},
		{"of that the process's own", drainingOwn, 9},
	} {
		fmt.Printf("%-62s %10.4g MB (budget %g)\n", f.what, f.value, f.limit)
		if measure == "check" && f.value > f.limit {
			t.Errorf("%s: %.1f MB, at most %g", f.what, f.value, f.limit)
		}
	}
	fmt.Printf("%-62s %10.4g samples/s\n", "from the shipper into VictoriaMetrics", pending/last.Sub(first).Seconds())
	shipper.stop()
}

// resident reads megabytes from /proc/PID/status.
func resident(t testing.TB, pid int, key string) float64 {
	t.Helper()
	kib, err := statusKiB(pid, key)
	if err != nil {
		t.Fatal(err)
	}
	return float64(kib) / 1024
}

// statusKiB reads a number of /proc/PID/status that is in kB, by its key with the
// colon.
func statusKiB(pid int, key string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), key)
	fields := strings.Fields(after)
	if len(fields) == 0 {
		return 0, fmt.Errorf("no %s in the status of %d", key, pid)
	}
	return strconv.ParseInt(fields[0], 10, 64)
}
