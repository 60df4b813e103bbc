package health

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience bounds every wait for something that must happen.
const patience = time.Minute

// programs builds the daemons without the race detector, whose memory is not
// theirs.
var programs = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "programs"); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/metrics-health", "../../cmd/metrics-collector", "../../cmd/metrics-shipper").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// A running is a real program over the board's database.
type running struct {
	cmd *exec.Cmd
	log *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// configFile writes a configuration with short intervals.
func (b *board) configFile(t *testing.T, more string) string {
	t.Helper()
	file := filepath.Join(filepath.Dir(b.path), "config.yaml")
	mustWrite(t, file, fmt.Sprintf("device: {id: board-1}\nstorage: {path: %s}\n%s", b.path, more))
	return file
}

const shortIntervals = `remote: {url: "%s/api/v1/import", upload_interval: 1s, timeout: 1s, retry: {initial_backoff: 1s, max_backoff: 2s}}
monitoring: {clock_skew_url: "%[1]s/health"}
time: {untrusted: ship}
health: {listen: "127.0.0.1:0"}
metrics:
  - {name: memory.usage, interval: 1s}
  - {name: system.load, interval: 1s}
`

// start starts one of the daemons, which is killed when the test ends.
func (b *board) start(t *testing.T, name string) *running {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(b.path), "config.yaml")
	if _, err := os.Stat(file); err != nil {
		b.configFile(t, "health: {listen: '127.0.0.1:0'}\nmetrics: [{name: system.load}]\n")
	}
	p := &running{exec.Command(filepath.Join(dir, name), "-config", file), &safeBuffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return p
}

var address = regexp.MustCompile(`"address":"([^"]+)"`)

// listens waits until the program says where it listens.
func (p *running) listens(t *testing.T) string {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if m := address.FindStringSubmatch(p.log.String()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("it does not listen: %s", p.log)
	return ""
}

// end sends a signal and waits for the end.
func (p *running) end(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
}

func (p *running) signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// command runs metrics-health with the given flags to its end.
func (b *board) command(t *testing.T, args ...string) (out string, exit int) {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	args = append(args, "-config", filepath.Join(filepath.Dir(b.path), "config.yaml"))
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "metrics-health"), args...)
	text, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestRealDaemonsStoppedKilledFrozenAndStarved takes the writers through all
// that happens to them and asks the running metrics-health and a fresh one.
func TestRealDaemonsStoppedKilledFrozenAndStarved(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel() // it mostly waits
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Server-Hostname", "vm-1")
		w.WriteHeader(204)
	}))
	defer server.Close()
	b := newBoard(t)
	b.configFile(t, fmt.Sprintf(shortIntervals, server.URL))
	base := "http://" + b.start(t, "metrics-health").listens(t)
	// The deciding answer, and the exit status of a fresh look at about the same time.
	must := func(name, want string, status Status) {
		t.Helper()
		var body string
		for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
			code, answer, _ := get(t, "GET", base+"/health", "")
			body = answer
			wantCode := map[Status]int{StatusOK: 200, StatusDegraded: 200, StatusError: 503}[status]
			var r Report
			if err := json.Unmarshal([]byte(answer), &r); err != nil {
				t.Fatal(err)
			}
			// A writer hangs exactly when its heartbeat is older than the documented
			// limit: an interval of 1 s, and 5 s for the shipper, 7 s for the collector.
			for program, limit := range map[string]float64{shipper: 6, collector: 8} {
				d := r.Daemons[program]
				if d.HeartbeatSeconds == nil || strings.Contains(answer, "has stored nothing") {
					continue
				}
				if age := *d.HeartbeatSeconds; d.State == Running && age > limit || d.State == Hung && age < limit {
					t.Errorf("%s: %s is %s %.1f s after its heartbeat, the limit is %.0f s", name, program, d.State, age, limit)
				}
			}
			if r.Status != status || code != wantCode || !strings.Contains(answer, want) {
				continue
			}
			if fresh, exit := b.command(t, "-once"); exit == status.ExitCode() && strings.Contains(fresh, want) {
				return
			}
		}
		t.Fatalf("%s: never %s with %s, but\n%s", name, status, want, body)
	}

	must("nobody runs", `"database_missing"`, StatusError)
	collecting := b.start(t, "metrics-collector")
	must("the collector alone", `"shipper_never_ran"`, StatusDegraded)
	shipping := b.start(t, "metrics-shipper")
	must("all run", `"state": "running"`, StatusOK)

	shipping.end(t, syscall.SIGTERM)
	must("shipper stopped", `"shipper_stopped"`, StatusDegraded)
	shipping = b.start(t, "metrics-shipper")
	must("shipper started again", `"reasons": []`, StatusOK)
	shipping.end(t, syscall.SIGKILL)
	must("shipper killed", `"shipper_crashed"`, StatusDegraded)
	shipping = b.start(t, "metrics-shipper")
	must("shipper started again", `"reasons": []`, StatusOK)
	shipping.signal(t, syscall.SIGSTOP)
	must("shipper frozen", `"shipper_hung"`, StatusDegraded)
	shipping.signal(t, syscall.SIGCONT)
	must("shipper thawed", `"reasons": []`, StatusOK)

	collecting.end(t, syscall.SIGKILL)
	must("collector killed", `"collector_crashed"`, StatusError)
	collecting = b.start(t, "metrics-collector")
	must("collector started again", `"reasons": []`, StatusOK)
	collecting.signal(t, syscall.SIGSTOP)
	must("collector frozen", `"collector_hung"`, StatusError)
	collecting.signal(t, syscall.SIGCONT)
	must("collector thawed", `"reasons": []`, StatusOK)

	release := b.starve(t)
	must("nobody may write", `"collector_hung"`, StatusError)
	release()
	must("fed again", `"reasons": []`, StatusOK)

	collecting.end(t, syscall.SIGTERM)
	release = b.starve(t)
	collecting = b.start(t, "metrics-collector")
	must("collector started while nobody may write", `"collector_starting"`, StatusDegraded)
	must("collector does not get through its start", `and has stored nothing`, StatusError)
	release()
	must("collector got through its start", `"reasons": []`, StatusOK)

	collecting.end(t, syscall.SIGTERM)
	must("collector stopped", `"collector_stopped"`, StatusError)
	shipping.end(t, syscall.SIGTERM)
	must("both stopped", `"shipper_stopped"`, StatusError)

	// Nothing changes any more: all that one can ask agrees.
	text, exit := b.command(t, "-status")
	if exit != 2 || !strings.HasPrefix(text, "ERROR  board-1") || !strings.Contains(text, "collector_stopped") || strings.Contains(text, "\x1b") {
		t.Errorf("-status: %d %s", exit, text)
	}
	answer, exit := b.command(t, "-status", "-json")
	_, served, _ := get(t, "GET", base+"/api/status", "")
	var fresh, running Report
	if err := errors.Join(json.Unmarshal([]byte(answer), &fresh), json.Unmarshal([]byte(served), &running)); err != nil || exit != 2 {
		t.Fatal(err, exit)
	}
	if diff := cmp.Diff(running.Storage, fresh.Storage); diff != "" {
		t.Error(diff)
	}
	_, exposed, _ := get(t, "GET", base+"/metrics", "")
	series, faults := lint(exposed)
	if len(faults) > 0 || series[`belabox_health_status{status="error"}`] != 1 || series["belabox_samples_captured_total"] != float64(fresh.Storage.Captured) ||
		series[`process_resident_memory_bytes{daemon="metrics-health"}`] < 1<<20 {
		t.Errorf("%q\n%s", faults, exposed)
	}
	db, err := sql.Open("sqlite3", "file:"+b.path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var captured, delivered int64
	if err := db.QueryRow("SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM samples WHERE uploaded = 1)").Scan(&captured, &delivered); err != nil {
		t.Fatal(err)
	}
	if s := fresh.Storage; s.Captured != captured || s.Delivered != delivered || delivered == 0 {
		t.Errorf("%d samples and %d delivered in the database, the status says %+v", captured, delivered, s)
	}
}

func TestAServerThatIsTurnedOffIdles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := newBoard(t)
	b.configFile(t, "health: {enabled: false}\n")
	p := b.start(t, "metrics-health")
	for until := time.Now().Add(patience); !strings.Contains(p.log.String(), `"msg":"ready"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(p.log)
		}
	}
	p.end(t, syscall.SIGTERM)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(p.log.String(), "listening") {
		t.Errorf("exit %d: %s", code, p.log)
	}
}

// starve takes the right to write from everybody until release is called.
func (b *board) starve(t *testing.T) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+b.path+"?_txlock=immediate&_busy_timeout=30000")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { tx.Rollback(); db.Close() })
	t.Cleanup(release)
	return release
}
