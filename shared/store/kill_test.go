package store

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	killedPath  = "METRICS_KILLED_DATABASE" // makes this test binary the process that is killed
	killedFirst = "METRICS_KILLED_FIRST"
	seedOf      = "METRICS_SEED"
)

// killedTick is the samples of one commit. Each value follows from its series
// and time.
func killedTick(seq int64) []metric.Sample {
	samples := make([]metric.Sample, 20)
	for i := range samples {
		samples[i] = metric.Sample{Name: "m", Tags: metric.Tags("i", strconv.Itoa(i)), TimeMs: 1000 + seq, Value: float64(seq*100 + int64(i))}
	}
	return samples
}

// TestToBeKilled collects, marks and checkpoints without an end, and says after
// each commit what it was. It is the process that TestKillingLosesNothing kills.
func TestToBeKilled(t *testing.T) {
	path := os.Getenv(killedPath)
	if path == "" {
		t.Skip("runs only as a process of TestKillingLosesNothing")
	}
	seq, err := strconv.ParseInt(os.Getenv(killedFirst), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path, Options{Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	for ; ; seq++ {
		mustRecord(t, db, Update{Groups: []Group{{Samples: killedTick(seq)}}})
		fmt.Fprintln(os.Stdout, "stored", seq)
		if seq%3 == 0 {
			rows, err := db.Newest(t.Context(), 50)
			if err != nil {
				t.Fatal(err)
			}
			n, err := db.Acknowledge(t.Context(), rows, Receipt{BatchID: "b", At: time.Now()}, Update{})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(os.Stdout, "delivered", n)
		}
		if seq%10 == 0 {
			mustCheckpoint(t, db, seq%20<<20)
		}
	}
}

func TestKillingLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedOf); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", seedOf, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "metrics.db")
	const kills = 30
	var stored, unreported, marked int64 // in all runs
	next := int64(1)
	reported := map[int64]bool{}
	for range kills {
		seqs, delivered := killed(t, self, path, next, random)
		marked += delivered
		for _, s := range seqs {
			reported[s] = true
		}
		db, err := Open(t.Context(), path, Options{Device: "d"})
		if err != nil {
			t.Fatal(err)
		}
		found := mustReadTicks(t, db)
		for s := range reported {
			if !found[s] {
				t.Errorf("samples of commit %d were reported and are gone", s)
			}
		}
		unreported = int64(len(found) - len(reported))
		for s := range found {
			next = max(next, s+1)
		}
		l := mustBalance(t, db)
		stored = int64(len(found))
		if l.Captured != 20*stored || l.Lost != 0 {
			t.Errorf("%d samples are stored, the ledger says %+v", 20*stored, l)
		}
		if l.Delivered < marked {
			t.Errorf("%d samples were reported as delivered, the ledger says %d", marked, l.Delivered)
		}
		mustBe(t, db, l.Delivered, "SELECT count(*) FROM samples WHERE uploaded = 1")
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if stored == 0 {
		t.Error("nothing was ever stored: the test is void")
	}
	t.Logf("%d kills: %d commits, of which %d were stored and not yet reported; 0 reported ones lost is what this asserts", kills, stored, unreported)
}

// killed runs the process, kills it after a random time and returns what it
// reported.
func killed(t *testing.T, self, path string, first int64, random *rand.Rand) (stored []int64, delivered int64) {
	t.Helper()
	cmd := exec.Command(self, "-test.run=^TestToBeKilled$")
	cmd.Env = append(os.Environ(), killedPath+"="+path, killedFirst+"="+strconv.FormatInt(first, 10), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Duration(60+random.IntN(200))*time.Millisecond, func() { cmd.Process.Kill() })
	defer stop.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n int64
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "stored ") && scan(text, "stored %d", &n):
			stored = append(stored, n)
		case strings.HasPrefix(text, "delivered ") && scan(text, "delivered %d", &n):
			delivered += n
		default:
			t.Errorf("the process said %q", text)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	return stored, delivered
}

func scan(text, format string, n *int64) bool {
	got, err := fmt.Sscanf(text, format, n)
	return got == 1 && err == nil
}

// mustReadTicks returns the commits that are stored. Each must be whole.
func mustReadTicks(t *testing.T, db *DB) map[int64]bool {
	t.Helper()
	rows, err := db.read.Query("SELECT timestamp_ms - 1000, count(*), sum(value) FROM samples GROUP BY timestamp_ms")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[int64]bool{}
	for rows.Next() {
		var seq, n int64
		var sum float64
		if err := rows.Scan(&seq, &n, &sum); err != nil {
			t.Fatal(err)
		}
		if n != 20 || sum != float64(seq*100*20+190) {
			t.Errorf("commit %d has %d samples with the sum %v", seq, n, sum)
		}
		found[seq] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
