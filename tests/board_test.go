package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A board is a directory with a configuration, a database and files in place of
// /proc, for programs that are killed, frozen and started again.
type board struct {
	t      testing.TB
	dir    string
	bin    string
	db     string
	config string
	proc   string
}

// ifaces is how many modems a board has: enough that a round takes a while to
// be written, and several requests to be sent.
const ifaces = 25

// newBoard makes a board that samples every second and sends to url, with more
// lines for its configuration.
func newBoard(t testing.TB, url, remote, more string) *board {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &board{
		t: t, dir: dir, bin: bin, db: filepath.Join(dir, "metrics.db"),
		config: filepath.Join(dir, "config.yaml"), proc: filepath.Join(dir, "proc"),
	}
	for _, name := range []string{"loadavg", "meminfo", "sys/kernel/random/boot_id"} {
		text, err := os.ReadFile(filepath.Join("/proc", name))
		if err != nil {
			t.Fatal(err)
		}
		b.write(filepath.Join(b.proc, name), text)
	}
	b.setCounters(1)
	b.write(b.config, fmt.Appendf(nil, `device: {id: board-1}
host: {procfs: %s}
storage: {path: %s}
time: {untrusted: ship}
remote: {url: "%s/api/v1/import", upload_interval: 1s, timeout: 5s, retry: {initial_backoff: 200ms, max_backoff: 1s}%s}
monitoring: {clock_skew_url: "%[3]s/health"}
metrics:
  - {name: network.traffic, interval: 1s}
  - {name: system.load, interval: 1s}
  - {name: memory.usage, interval: 1s}
%[5]s`, b.proc, b.db, url, remote, more))
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, log := range logs {
				t.Logf("-- %s\n%s", filepath.Base(log), tail(log))
			}
		}
	})
	return b
}

func (b *board) write(path string, text []byte) {
	b.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path+".new", text, 0o640), os.Rename(path+".new", path)); err != nil {
		b.t.Fatal(err)
	}
}

// setCounters makes every counter of every interface a number that says which
// one it is and when it was set, see counterAt.
func (b *board) setCounters(turn int) {
	b.t.Helper()
	text := bytes.NewBufferString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for i := range ifaces {
		at := func(field int) int { return counterAt(turn, i, field) }
		fmt.Fprintf(text, "wwan%d: %d %d %d 0 0 0 0 0 %d %d %d 0 0 0 0 0\n", i, at(0), at(1), at(2), at(3), at(4), at(5))
	}
	b.write(filepath.Join(b.proc, "net", "dev"), text.Bytes())
}

// counterFields are the wire names in the order of counterAt's fields.
var counterFields = []string{
	"network_rx_bytes_total", "network_rx_packets_total", "network_rx_errors_total",
	"network_tx_bytes_total", "network_tx_packets_total", "network_tx_errors_total",
}

func counterAt(turn, iface, field int) int { return turn*1000 + iface*10 + field }

// A program is one of the daemons, running or ended.
type program struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// start starts a program, which is ended by its pid when the test is over. Its
// output is appended to its name's log.
func (b *board) start(name string, args ...string) *program {
	b.t.Helper()
	return launch(b.t, filepath.Join(b.dir, name+".log"), filepath.Join(b.bin, name), append([]string{"-config", b.config}, args...)...)
}

func launch(t testing.TB, log, path string, args ...string) *program {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &program{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// Programs of the race detector sleep for a second before they exit.
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	parent() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
	})
	return p
}

// parent runs functions on the one thread that starts programs: they are killed
// when it ends, so it lasts as long as the tests do, however those end.
var parent = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range work {
			fn()
		}
	}()
	return work
})

// ended says that the program runs no more.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *program) signal(sig os.Signal) (alive bool) {
	return !p.ended() && p.cmd.Process.Signal(sig) == nil
}

// kill ends the program with -9 and waits for it. Killed says that it did not
// end by itself before.
func (p *program) kill() (killed bool) {
	p.signal(syscall.SIGKILL)
	<-p.done
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// wait waits for the program to end by itself, which it must do with status 0.
func (p *program) wait() {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("%s: exit status %d\n%s", p.name, code, tail(p.log))
	}
}

func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.wait()
}

// drain sends all that is pending, with no daemon running.
func (b *board) drain() {
	b.t.Helper()
	b.start("metrics-shipper", "-once").wait()
}

// command runs a program to its end and returns its output and exit status.
func (b *board) command(name string, args ...string) (output string, exit int) {
	b.t.Helper()
	cmd := exec.Command(filepath.Join(b.bin, name), append([]string{"-config", b.config}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		b.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// number is the one number that a query gives; ok is false while the database
// cannot be read.
func (b *board) number(text string) (n int64, ok bool) {
	out, err := query(b.db, text)
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscan(strings.TrimSpace(out), &n)
	return n, err == nil
}

// allSent says that nothing is pending, nor to be sent again.
func (b *board) allSent() bool {
	n, ok := b.number(`SELECT (SELECT count(*) FROM samples WHERE uploaded = 0) + (SELECT detail LIKE '%"again":%' FROM status WHERE component = 'shipper')`)
	return ok && n == 0
}

// awaitAllSent waits until nothing is pending, nor to be sent again: after many
// restarts of the server that waits until it has been up for two minutes.
func (b *board) awaitAllSent(t testing.TB) {
	t.Helper()
	awaitFor(t, patience+2*time.Minute, "everything to be sent, and sent again", b.allSent)
}

// await polls for what must happen.
func await(t testing.TB, what string, happened func() bool) {
	t.Helper()
	awaitFor(t, patience, what, happened)
}

func awaitFor(t testing.TB, limit time.Duration, what string, happened func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !happened() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A victoria is a real VictoriaMetrics that can be killed and started again on
// its data and its port.
type victoria struct {
	t     testing.TB
	dir   string
	port  string
	base  string
	flags []string
	run   *program
}

func newVictoria(t testing.TB, flags ...string) *victoria {
	t.Helper()
	if _, err := exec.LookPath("victoria-metrics"); err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics)")
	}
	port := mustReservePort(t)
	v := &victoria{t: t, dir: t.TempDir(), port: port, base: "http://127.0.0.1:" + port, flags: flags}
	v.start()
	return v
}

// start starts it and waits until it answers.
func (v *victoria) start() {
	v.t.Helper()
	path, err := exec.LookPath("victoria-metrics")
	if err != nil {
		v.t.Fatal(err)
	}
	v.run = launch(v.t, filepath.Join(v.dir, "log"), path, append([]string{
		"-storageDataPath=" + filepath.Join(v.dir, "data"), "-httpListenAddr=127.0.0.1:" + v.port,
		"-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y", "-search.disableCache",
	}, v.flags...)...)
	await(v.t, "VictoriaMetrics to answer", func() bool {
		if v.run.ended() {
			v.t.Fatalf("VictoriaMetrics ended\n%s", tail(v.run.log))
		}
		_, status := get(v.base + "/health")
		return status == 200
	})
}
