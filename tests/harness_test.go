// Package tests runs the built programs: real binaries, a real VictoriaMetrics
// and real files. The scripts in testdata/script are the product's behaviour,
// one file each; the commands that they use beyond testscript's own are here.
package tests

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

var programs = sync.OnceValues(func() (dir string, err error) {
	dir, err = os.MkdirTemp("", "programs")
	if err != nil {
		return "", err
	}
	args := append([]string{"build"}, raceFlags...)
	out, err := exec.Command("go", append(args, "-o", dir+"/", "../cmd/...")...).CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	// Programs built for the race detector sleep for a second when they end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	// Under nohup the programs would inherit that SIGHUP is ignored; one that is
	// caught here has its own meaning for them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	code := m.Run()
	if dir, err := programs(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func TestScripts(t *testing.T) {
	t.Parallel()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Values[runningKey{}] = &running{procs: map[string]*proc{}}
			env.Defer(env.Values[runningKey{}].(*running).killAll)
			env.Values[portalKey{}] = new(portal)
			env.Values[testKey{}] = env.T()
			for _, name := range []string{"VM", "HEALTH", "RECEIVER"} {
				port, release, err := reservePort()
				if err != nil {
					return err
				}
				env.Defer(release)
				env.Setenv(name, "127.0.0.1:"+port)
				env.Setenv(name+"_PORT", port)
			}
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("DB", filepath.Join(env.WorkDir, "data", "metrics.db"))
			env.Setenv("FIXTURES", os.Getenv("METRICS_FIXTURES"))
			return os.WriteFile(filepath.Join(env.WorkDir, "config.yaml"), fmt.Appendf(nil, baseConfig,
				env.Getenv("DB"), env.Getenv("VM"), env.Getenv("HEALTH"), env.Getenv("VM")), 0o640)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":      cmdStart,
			"end":        cmdStop,
			"signal":     cmdSignal,
			"vm":         cmdVM,
			"portal":     cmdPortal,
			"sql":        cmdSQL,
			"waitsql":    cmdWaitSQL,
			"get":        cmdGet,
			"waitget":    cmdWaitGet,
			"expand":     cmdExpand,
			"delivered":  cmdDelivered,
			"exitstatus": cmdExitStatus,
			"mksql":      cmdMkSQL,
			"waitlog":    cmdWaitLog,
		},
	})
}

// baseConfig is a board that samples every second and uploads every second.
const baseConfig = `device: {id: board-1}
storage: {path: %s}
time: {untrusted: ship}
remote: {url: "http://%s/api/v1/import", upload_interval: 1s, retry: {initial_backoff: 1s, max_backoff: 2s}}
health: {listen: "%s"}
monitoring: {clock_skew_url: "http://%s/health"}
metrics:
  - {name: cpu.usage, interval: 1s}
  - {name: memory.usage, interval: 1s}
  - {name: network.traffic, interval: 1s, config: {exclude_ifaces: []}}
  - {name: system.load, interval: 1s}
  - {name: system.uptime, interval: 1s}
`

// reservePort returns a free port of 127.0.0.1 for a program that is started later. A
// socket that is bound to it and does not listen keeps the kernel from giving the port
// to others; a program that listens at it with SO_REUSEADDR, as Go's do, may have it.
func reservePort() (port string, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	release = func() { syscall.Close(fd) }
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var at syscall.Sockaddr
	if err == nil {
		at, err = syscall.Getsockname(fd)
	}
	if err != nil {
		release()
		return "", nil, err
	}
	return strconv.Itoa(at.(*syscall.SockaddrInet4).Port), release, nil
}

// mustReservePort reserves a port until the test ends.
func mustReservePort(t testing.TB) string {
	t.Helper()
	port, release, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

func TestAReservedPortIsGivenToNoOtherAndCanBeListenedAt(t *testing.T) {
	port := mustReservePort(t)
	// The kernel may choose only from this port.
	const localPortRange = 51 // IP_LOCAL_PORT_RANGE
	n, _ := strconv.Atoi(port)
	unknown := false
	only := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, localPortRange, n<<16|n)
		}); failed != nil {
			return failed
		}
		unknown = errors.Is(err, syscall.ENOPROTOOPT)
		return err
	}}
	switch l, err := only.Listen(t.Context(), "tcp", "127.0.0.1:0"); {
	case unknown:
		t.Log("this kernel has no IP_LOCAL_PORT_RANGE")
	case err == nil:
		l.Close()
		t.Errorf("port %s is given to another listener", port)
	case !errors.Is(err, syscall.EADDRINUSE):
		t.Error(err)
	}
	for range 2 { // a program may restart
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

// running holds the processes that a script started.
type running struct {
	mu    sync.Mutex
	procs map[string]*proc
}

type runningKey struct{}

type proc struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func (r *running) killAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.procs {
		select {
		case <-p.done:
		default:
			p.cmd.Process.Signal(syscall.SIGCONT)
			p.cmd.Process.Kill()
			<-p.done
		}
	}
}

func (r *running) get(ts *testscript.TestScript, name string) *proc {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.procs[name]
	if p == nil {
		ts.Fatalf("nothing called %s was started", name)
	}
	return p
}

func (r *running) start(ts *testscript.TestScript, name string, args ...string) {
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	log := ts.MkAbs(name + ".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	ts.Check(err)
	defer out.Close()
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), out, out
	cmd.Env = append(os.Environ(), "PORT="+ts.Getenv("RECEIVER_PORT"), "NOTIFY_SOCKET="+ts.Getenv("NOTIFY_SOCKET"), "WATCHDOG_USEC="+ts.Getenv("WATCHDOG_USEC"))
	ts.Check(cmd.Start())
	p := &proc{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	r.mu.Lock()
	r.procs[name] = p
	r.mu.Unlock()
}

func lookPath(ts *testscript.TestScript, program string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not on the path", program)
}

func procsOf(ts *testscript.TestScript) *running { return ts.Value(runningKey{}).(*running) }

// start NAME PROGRAM ARGS…: starts a program that goes on running; its output
// goes to NAME.log.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGS…")
	}
	procsOf(ts).start(ts, args[0], args[1:]...)
}

// end [-KILL|-INT] NAME: ends a program, by default with SIGTERM, and waits for
// it. Without ! it must exit with 0 unless it was killed.
func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	sig := syscall.SIGTERM
	if len(args) == 2 {
		sig = signals[strings.TrimPrefix(args[0], "-")]
		args = args[1:]
	}
	if len(args) != 1 || sig == 0 {
		ts.Fatalf("usage: end [-KILL] NAME")
	}
	p := procsOf(ts).get(ts, args[0])
	p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s did not stop", args[0])
	}
	ok := p.cmd.ProcessState.ExitCode() == 0
	if sig != syscall.SIGKILL && ok == neg {
		ts.Fatalf("%s: exit status %d\n%s", args[0], p.cmd.ProcessState.ExitCode(), tail(p.log))
	}
}

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "HUP": syscall.SIGHUP,
}

// signal SIG NAME: sends a signal and does not wait.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|INT|KILL|STOP|CONT NAME")
	}
	ts.Check(procsOf(ts).get(ts, args[1]).cmd.Process.Signal(signals[args[0]]))
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-4000):])
}

// vm start|stop|kill: a real VictoriaMetrics at $VM, with its data in vm/, which
// stays between a stop and a start. Extra arguments of start are its flags.
type testKey struct{}

func cmdVM(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: vm start|stop|kill [FLAGS…]")
	}
	switch args[0] {
	case "start":
		if !there("victoria-metrics") {
			ts.Value(testKey{}).(testscript.T).Skip("the rest needs victoria-metrics (Debian package)")
		}
		procsOf(ts).start(ts, "vm", append([]string{
			"victoria-metrics", "-storageDataPath=" + ts.MkAbs("vm"),
			"-httpListenAddr=" + ts.Getenv("VM"), "-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y",
		}, args[1:]...)...)
		poll(ts, "VictoriaMetrics to answer", func() (string, bool) {
			body, status := get("http://" + ts.Getenv("VM") + "/health")
			return body, status == 200
		})
	case "stop":
		cmdStop(ts, false, []string{"vm"})
	case "kill":
		cmdStop(ts, false, []string{"-KILL", "vm"})
	default:
		ts.Fatalf("vm %s: unknown", args[0])
	}
}

// there says whether a program that some tests need is on this machine;
// tests/tools.sh names those that are missing. Where it must be, as in the gate,
// it is taken to be there, and its absence fails.
func there(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil || os.Getenv("CI") == "true"
}

// poll calls fn until it says true, and fails with its last words.
func poll(ts *testscript.TestScript, what string, fn func() (string, bool)) {
	deadline := time.Now().Add(patience)
	for {
		got, ok := fn()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s for %s, last saw: %s%s", patience, what, got, logsOf(ts))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func logsOf(ts *testscript.TestScript) string {
	r := procsOf(ts)
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for name, p := range r.procs {
		if name != "vm" {
			fmt.Fprintf(&b, "\n-- %s.log\n%s", name, tail(p.log))
		}
	}
	return b.String()
}

// sql FILE QUERY: prints the rows, columns apart by |.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sql FILE QUERY")
	}
	out, err := query(ts.MkAbs(args[0]), args[1])
	if (err != nil) != neg {
		ts.Fatalf("sql: %v", err)
	}
	io.WriteString(ts.Stdout(), out)
}

// waitsql FILE QUERY WANT: waits until the query gives WANT.
func cmdWaitSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: waitsql FILE QUERY WANT")
	}
	poll(ts, args[1], func() (string, bool) {
		out, err := query(ts.MkAbs(args[0]), args[1])
		if err != nil {
			return err.Error(), false
		}
		return out, strings.TrimSpace(out) == args[2]
	})
}

func query(path, text string) (string, error) {
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return "", err
	}
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		if err := rows.Scan(values...); err != nil {
			return "", err
		}
		for i, v := range values {
			if i > 0 {
				out.WriteByte('|')
			}
			out.WriteString(v.(*sql.NullString).String)
		}
		out.WriteByte('\n')
	}
	return out.String(), rows.Err()
}

var client = &http.Client{Timeout: 10 * time.Second}

func get(url string) (body string, status int) {
	resp, err := client.Get(url)
	if err != nil {
		return err.Error(), 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), 0
	}
	return string(b), resp.StatusCode
}

// get URL: prints the status and the body of the answer.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	body, status := get(args[0])
	if (status == 0) != neg {
		ts.Fatalf("get %s: %s", args[0], body)
	}
	fmt.Fprintf(ts.Stdout(), "%d\n%s\n", status, body)
}

// waitget URL REGEXP: waits until status, newline and body match.
func cmdWaitGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitget URL REGEXP")
	}
	want := regexp.MustCompile("(?s)" + args[1])
	poll(ts, args[0]+" to match "+args[1], func() (string, bool) {
		body, status := get(args[0])
		text := fmt.Sprintf("%d\n%s", status, body)
		return text, want.MatchString(text)
	})
}

// waitlog NAME REGEXP: waits until the output of a program matches.
func cmdWaitLog(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?s)" + args[1])
	poll(ts, args[0]+".log to match "+args[1], func() (string, bool) {
		b, err := os.ReadFile(ts.MkAbs(args[0] + ".log"))
		return tail(ts.MkAbs(args[0] + ".log")), err == nil && want.Match(b)
	})
}

// exitstatus N PROGRAM ARGS…: runs a program that must end with status N.
func cmdExitStatus(ts *testscript.TestScript, neg bool, args []string) {
	path, err := lookPath(ts, args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	out, err := cmd.CombinedOutput()
	if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("%s: exit status %s, want %s (%v)\n%s", args[1], got, args[0], err, out)
	}
}

// mksql FILE SCRIPT: makes a database file by an SQL script.
func cmdMkSQL(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o750))
	db, err := sql.Open("sqlite3", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(ts.ReadFile(args[1]))
	ts.Check(err)
}

// expand FILE…: replaces $NAME in files by the script's environment.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		b, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(b), ts.Getenv)), 0o640))
	}
}

// delivered [-raw] FILE: waits until nothing in the database is pending, and
// then until what the server shows are the delivered rows, one to one; with
// -raw what it stores, before its deduplication.
func cmdDelivered(ts *testscript.TestScript, neg bool, args []string) {
	raw := len(args) == 2 && args[0] == "-raw"
	if raw {
		args = args[1:]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: delivered [-raw] FILE")
	}
	path := ts.MkAbs(args[0])
	poll(ts, "nothing pending", func() (string, bool) {
		out, err := query(path, "SELECT count(*) FROM samples WHERE uploaded = 0")
		return out, err == nil && out == "0\n"
	})
	want, err := storedSamples(path)
	ts.Check(err)
	if len(want) == 0 {
		ts.Fatalf("no delivered row in %s", path)
	}
	poll(ts, "the export to equal the delivered rows", func() (string, bool) {
		get("http://" + ts.Getenv("VM") + "/internal/force_flush")
		got, err := exportedSamples("http://"+ts.Getenv("VM"), raw)
		if err != nil {
			return err.Error(), false
		}
		if slices.Equal(want, got) {
			return "", true
		}
		return difference(want, got), false
	})
	fmt.Fprintf(ts.Stdout(), "%d samples\n", len(want))
}

func difference(want, got []string) string {
	var b bytes.Buffer
	only := func(sign string, a, b []string, out io.Writer) {
		n := 0
		for _, s := range a {
			if _, found := slices.BinarySearch(b, s); !found {
				if n++; n <= 5 {
					fmt.Fprintf(out, "\n%s %s", sign, s)
				}
			}
		}
	}
	only("-", want, got, &b)
	only("+", got, want, &b)
	return fmt.Sprintf("%d delivered, %d exported%s", len(want), len(got), b.String())
}
