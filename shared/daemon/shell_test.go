package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/config"
)

// TestMain is a program of this package where the environment says so: the
// tests start their own binary again, as a real process.
func TestMain(m *testing.M) {
	if mode := os.Getenv("DAEMON_TEST_MODE"); mode != "" {
		os.Exit(Main(testProgram(mode)))
	}
	// Under nohup the programs would inherit that SIGHUP is ignored; one that is
	// caught here has its own meaning for them.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

func testProgram(mode string) Program {
	var word *string
	return Program{
		Name:    "metrics-test",
		Summary: "does what the tests want",
		Lock:    func(c config.Config) string { return c.LockPath("metrics-test") },
		Run: func(ctx context.Context, p *Process) error {
			p.LoopLimit = time.Second
			g, ctx := errgroup.WithContext(ctx)
			// Whatever the daemon makes, it makes under Main's umask.
			if err := os.WriteFile("run/made", nil, 0o666); err != nil {
				return err
			}
			switch mode {
			case "fail":
				return errors.New("no database")
			case "panic":
				g.Go(func() error { panic("BUG: on purpose") })
			case "fatal":
				g.Go(func() error {
					return p.Every(ctx, "store", time.Hour, func(context.Context) error { return Fatal(errors.New("newer schema")) })
				})
			case "hang": // does not come back
				g.Go(func() error {
					return p.Every(ctx, "deaf", time.Hour, func(context.Context) error { select {} })
				})
				g.Go(func() error {
					return p.Every(ctx, "fine", time.Hour, func(context.Context) error { return nil })
				})
			case "chatty": // until the file is there, and counts what it said
				g.Go(func() error {
					said := 0
					return p.Every(ctx, "talk", time.Millisecond, func(context.Context) error {
						if _, err := os.Stat("enough"); err == nil {
							return nil
						}
						for range 100 {
							said++
							p.Log.Info("chatter", "number", said, "text", strings.Repeat("x", 100))
						}
						return os.WriteFile("run/said", fmt.Append(nil, said), 0o600)
					})
				})
			case "stuck": // while the file is there
				g.Go(func() error {
					return p.Every(ctx, "upload", 50*time.Millisecond, func(context.Context) error {
						for {
							if _, err := os.Stat(os.Getenv("DAEMON_TEST_STUCK")); err != nil {
								return nil
							}
							time.Sleep(10 * time.Millisecond)
						}
					})
				})
			}
			g.Go(func() error {
				return p.Every(ctx, "tick", 50*time.Millisecond, func(context.Context) error { return nil })
			})
			p.Ready()
			return g.Wait()
		},
		Check: func(config.Config) (faults, unseen []string) {
			return strings.Fields(os.Getenv("DAEMON_TEST_FAULTS")), strings.Fields(os.Getenv("DAEMON_TEST_UNSEEN"))
		},
		Failed: func(_ context.Context, _ *Process, failure error) error {
			return os.WriteFile("run/failure", []byte(failure.Error()), 0o600)
		},
		Commands: []Command{
			{Flag: "once", Help: "answer and exit", Run: func(_ context.Context, p *Process) (int, error) {
				p.Log.Info("answering")
				fmt.Fprintln(p.Stdout, "answer", *word)
				return 0, nil
			}},
			{Flag: "seven", Help: "exit 7", Run: func(context.Context, *Process) (int, error) { return 7, nil }},
			{Flag: "broken", Help: "fail", Run: func(context.Context, *Process) (int, error) { return 0, errors.New("no answer") }},
			{Flag: "drain", Help: "wait, with the lock", Locked: true, Run: func(ctx context.Context, p *Process) (int, error) {
				p.Log.Info("draining")
				<-ctx.Done()
				return 0, ctx.Err()
			}},
		},
		Flags: func(fs *flag.FlagSet) { word = fs.String("word", "42", "what -once says") },
	}
}

// process is a started program. Its output can be read while it runs.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs the test program in dir with env beside the mode. It is killed
// with the test.
func start(t *testing.T, mode, dir string, env []string, args ...string) *process {
	t.Helper()
	return startOn(t, nil, mode, dir, env, args...)
}

// startOn is start with a file as stdout; nil: the output is kept.
func startOn(t *testing.T, stdout *os.File, mode, dir string, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(append(os.Environ(), "DAEMON_TEST_MODE="+mode, "NOTIFY_SOCKET=", "WATCHDOG_USEC=", "GORACE=atexit_sleep_ms=0"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the state is looked at instead
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end and returns the exit status, or minus the signal.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("still running\nstdout: %s\nstderr: %s", &p.stdout, &p.stderr)
	}
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return -int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

// await polls until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

func (p *process) awaitLog(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("stdout: %s\nstderr: %s", &p.stdout, &p.stderr)
		}
	}()
	await(t, text, func() bool { return strings.Contains(p.stdout.String()+p.stderr.String(), text) })
}

// board makes a directory with a configuration that keeps its files there.
func board(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	text := "device: {id: board}\nstorage: {path: run/metrics.db}\n" + more
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheCommandLineDecidesTheExitStatus(t *testing.T) {
	dir := board(t, "")
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("remote:\n  timeout: 1\n  urll: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const hint = "metrics-test: -h lists the flags\n"
	for _, c := range []struct {
		args           string
		exit           int
		stdout, stderr string // "…" at the end: only the beginning
	}{
		{"-version", 0, "metrics-test dev\nrevision …", ""},
		{"-config c.yaml -check", 0, "c.yaml: ok\n", ""},
		{"-config bad.yaml -check", 2, "", "bad.yaml:2: remote.timeout: want a duration of 1s to 10m such as 30s, got 1\nbad.yaml:3: remote.urll: no such key; did you mean url?\n"},
		{"-config bad.yaml", 2, "", "bad.yaml:2: …"},
		{"-config none.yaml", 2, "", "read configuration: open none.yaml: no such file or directory\n"},
		{"-config .", 2, "", "read configuration: .: want a regular file, got a directory\n"},
		{"-config=", 2, "", "metrics-test: -config needs a file name\n" + hint},
		{"-config c.yaml extra", 2, "", "metrics-test: unexpected argument \"extra\"\n" + hint},
		{"-nonsense", 2, "", "metrics-test: flag provided but not defined: -nonsense\n" + hint},
		{"-config c.yaml -once -seven", 2, "", "metrics-test: -once and -seven exclude each other\n" + hint},
		{"-config c.yaml -check -once", 2, "", "metrics-test: -check and -once exclude each other\n" + hint},
		{"-check -version", 2, "", "metrics-test: -check and -version exclude each other\n" + hint},
		{"-config c.yaml -word x", 2, "", "metrics-test: -word needs one of the commands\n" + hint},
		{"-h", 0, "metrics-test: does what the tests want\n\nusage: metrics-test [-config FILE] [-check | -version | -once | -seven | -broken | -drain]\n\n…", ""},
		{"-config c.yaml -once", 0, "answer 42\n", `{"time":"…`},
		{"-config c.yaml -once -word x", 0, "answer x\n", `{"time":"…`},
		{"-config c.yaml -once=false -seven", 7, "", ""},
		{"-config c.yaml -broken", 1, "", `{"time":"…`},
	} {
		t.Run(c.args, func(t *testing.T) {
			p := start(t, "daemon", dir, nil, strings.Fields(c.args)...)
			exit := p.exit(t)
			if exit != c.exit || !matches(p.stdout.String(), c.stdout) || !matches(p.stderr.String(), c.stderr) {
				t.Errorf("exit %d, want %d\nstdout: %q\n  want: %q\nstderr: %q\n  want: %q", exit, c.exit, &p.stdout, c.stdout, &p.stderr, c.stderr)
			}
		})
	}
}

func matches(got, want string) bool {
	if begin, cut := strings.CutSuffix(want, "…"); cut {
		return strings.HasPrefix(got, begin)
	}
	return got == want
}

func TestTheReasonForTheEndDecidesTheExitStatus(t *testing.T) {
	for _, c := range []struct {
		mode string
		exit int
		log  string
	}{
		{"fail", 1, `"error":"no database"`},
		{"fatal", 1, `"error":"loop store: newer schema"`},
		{"panic", 2, "panic: BUG: on purpose"}, // the runtime's own status
	} {
		t.Run(c.mode, func(t *testing.T) {
			dir := board(t, "")
			p := start(t, c.mode, dir, nil, "-config", "c.yaml")
			exit := p.exit(t)
			if all := p.stdout.String() + p.stderr.String(); exit != c.exit || strings.Count(all, c.log) != 1 {
				t.Errorf("exit %d, want %d; log, want %s once:\n%s", exit, c.exit, c.log, all)
			}
			// This was no clean stop, and the lock says so.
			pid, held, err := lockOf(filepath.Join(dir, "run/metrics-test.lock"))
			if pid != p.cmd.Process.Pid || held || err != nil {
				t.Errorf("lock: pid %d, held %t, %v; want pid %d, free", pid, held, err, p.cmd.Process.Pid)
			}
		})
	}
}

func TestOneSignalStopsCleanly(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			dir := board(t, "")
			p := start(t, "daemon", dir, nil, "-config", "c.yaml")
			p.awaitLog(t, `"msg":"ready"`)
			lock := filepath.Join(dir, "run/metrics-test.lock")
			if pid, held, err := lockOf(lock); pid != p.cmd.Process.Pid || !held || err != nil {
				t.Errorf("running: pid %d, held %t, %v", pid, held, err)
			}
			p.signal(t, s)
			if exit := p.exit(t); exit != 0 {
				t.Errorf("exit %d, want 0", exit)
			}
			if pid, held, err := lockOf(lock); pid != 0 || held || err != nil {
				t.Errorf("stopped: pid %d, held %t, %v; want neither", pid, held, err)
			}
			var messages []string
			for line := range strings.Lines(p.stdout.String()) {
				var attrs struct{ Time, Level, Msg, Daemon, Cause string }
				if err := json.Unmarshal([]byte(line), &attrs); err != nil || attrs.Daemon != "metrics-test" || attrs.Level != "INFO" || attrs.Time == "" {
					t.Errorf("log line %q: %v", line, err)
				}
				messages = append(messages, attrs.Msg)
			}
			if want := []string{"starting", "ready", "stopping", "stopped"}; !slices.Equal(messages, want) || p.stderr.String() != "" {
				t.Errorf("log %q, want %q; stderr %q", messages, want, &p.stderr)
			}
		})
	}
}

func TestADaemonThatDoesNotStopExitsAndNamesTheLoop(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	dir := board(t, "")
	p := start(t, "hang", dir, nil, "-config", "c.yaml")
	p.awaitLog(t, `"msg":"ready"`)
	p.signal(t, syscall.SIGTERM)
	p.awaitLog(t, `"msg":"stopping"`)
	if exit := p.exit(t); exit != 1 {
		t.Errorf("exit %d, want 1", exit)
	}
	if want := `"error":"still running 4.2s after the stop signal, in deaf: exiting without waiting further"`; !strings.Contains(p.stdout.String(), want) {
		t.Errorf("log lacks %s:\n%s", want, &p.stdout)
	}
	if pid, held, err := lockOf(filepath.Join(dir, "run/metrics-test.lock")); pid != p.cmd.Process.Pid || held || err != nil {
		t.Errorf("lock: pid %d, held %t, %v; want the pid, free", pid, held, err)
	}
}

func TestASecondSignalKills(t *testing.T) {
	p := start(t, "hang", board(t, ""), nil, "-config", "c.yaml")
	p.awaitLog(t, `"msg":"ready"`)
	p.signal(t, syscall.SIGINT)
	p.awaitLog(t, `"msg":"stopping"`)
	p.signal(t, syscall.SIGTERM)
	if exit := p.exit(t); exit != -int(syscall.SIGTERM) {
		t.Errorf("exit %d, want killed by SIGTERM", exit)
	}
}

func TestASecondInstanceNamesThePidOfTheFirst(t *testing.T) {
	dir := board(t, "")
	first := start(t, "daemon", dir, nil, "-config", "c.yaml")
	first.awaitLog(t, `"msg":"ready"`)
	want := fmt.Sprintf("lock run/metrics-test.lock: held by pid %d; only one instance runs at a time", first.cmd.Process.Pid)
	for _, args := range []string{"-config c.yaml", "-config c.yaml -drain"} {
		second := start(t, "daemon", dir, nil, strings.Fields(args)...)
		exit := second.exit(t)
		if all := second.stdout.String() + second.stderr.String(); exit != 1 || !strings.Contains(all, want) {
			t.Errorf("%s: exit %d, want 1; output, want %q:\n%s", args, exit, want, all)
		}
	}
	// The attempts took nothing away, and a command that needs no lock runs.
	if pid, held, _ := lockOf(filepath.Join(dir, "run/metrics-test.lock")); pid != first.cmd.Process.Pid || !held {
		t.Errorf("after the attempts: pid %d, held %t", pid, held)
	}
	if exit := start(t, "daemon", dir, nil, "-config", "c.yaml", "-once").exit(t); exit != 0 {
		t.Errorf("-once: exit %d", exit)
	}

	// A killed holder leaves its pid and no lock; the next one starts.
	first.signal(t, syscall.SIGKILL)
	first.exit(t)
	if pid, held, _ := lockOf(filepath.Join(dir, "run/metrics-test.lock")); pid != first.cmd.Process.Pid || held {
		t.Errorf("killed: pid %d, held %t", pid, held)
	}
	start(t, "daemon", dir, nil, "-config", "c.yaml").awaitLog(t, `"msg":"ready"`)
}

func TestALockedCommandKeepsTheDaemonOut(t *testing.T) {
	dir := board(t, "")
	drain := start(t, "daemon", dir, nil, "-config", "c.yaml", "-drain")
	drain.awaitLog(t, `"msg":"draining"`)
	if exit := start(t, "daemon", dir, nil, "-config", "c.yaml").exit(t); exit != 1 {
		t.Errorf("daemon beside -drain: exit %d, want 1", exit)
	}
	drain.signal(t, syscall.SIGTERM)
	if exit := drain.exit(t); exit != 1 || drain.stdout.String() != "" {
		t.Errorf("broken off: exit %d, want 1; stdout %q", exit, &drain.stdout)
	}
}

func TestNewFilesAreForUserAndGroup(t *testing.T) {
	dir := board(t, "logging: {output: log.json}\n")
	old := syscall.Umask(0) // inherited by the process, which sets its own
	p := start(t, "daemon", dir, nil, "-config", "c.yaml")
	syscall.Umask(old)
	await(t, "ready", func() bool {
		data, _ := os.ReadFile(filepath.Join(dir, "log.json"))
		return strings.Contains(string(data), `"msg":"ready"`)
	})
	for name, want := range map[string]os.FileMode{"run": 0o750 | os.ModeDir, "run/metrics-test.lock": 0o640, "run/made": 0o640, "log.json": 0o640} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s: mode %v, want %v", name, info.Mode(), want)
		}
	}
	if text := p.stdout.String() + p.stderr.String(); text != "" {
		t.Errorf("output beside the log: %s", text)
	}
	// What ends a start is said on stderr too, where a person sees it.
	second := start(t, "daemon", dir, nil, "-config", "c.yaml")
	if exit := second.exit(t); exit != 1 || !strings.Contains(second.stderr.String(), "held by pid") {
		t.Errorf("second: exit %d, stderr %q", exit, &second.stderr)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "log.json")); strings.Count(string(data), "\n") < 3 {
		t.Errorf("the log was not appended to:\n%s", data)
	}
}

func TestLogOutputs(t *testing.T) {
	for _, c := range []struct {
		logging, stdout, stderr string
	}{
		{"{output: stderr}", "", `{"time":`},
		{"{output: stdout, level: error}", "", ""},
		{"{format: console}", " INF starting daemon=metrics-test version=dev ", ""},
		// The daemon goes on without the file, and says so whatever the level.
		{"{output: none/log}", "", "metrics-test: warning: open the log, logging.output: open none/log: no such file or directory; the log goes to stderr\n{\"time\":"},
		{"{output: none/log, level: error}", "", "directory; the log goes to stderr\n"},
	} {
		p := start(t, "daemon", board(t, "logging: "+c.logging+"\n"), []string{"NOTIFY_SOCKET=" + notifySocket(t).path}, "-config", "c.yaml")
		await(t, "the lock", func() bool {
			_, held, _ := lockOf(filepath.Join(p.cmd.Dir, "run/metrics-test.lock"))
			return held
		})
		p.signal(t, syscall.SIGTERM)
		if exit := p.exit(t); exit != 0 {
			t.Errorf("%s: exit %d, want 0", c.logging, exit)
		}
		for _, o := range []struct{ name, got, want string }{{"stdout", p.stdout.String(), c.stdout}, {"stderr", p.stderr.String(), c.stderr}} {
			if !strings.Contains(o.got, o.want) || o.want == "" && o.got != "" || strings.Contains(o.got, "\x1b") {
				t.Errorf("%s: %s %q, want %q", c.logging, o.name, o.got, o.want)
			}
		}
	}
}

// systemd is the other end of a notification socket.
type systemd struct {
	path string
	mu   sync.Mutex
	got  []string
}

func notifySocket(t *testing.T) *systemd {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") //nolint:usetesting // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &systemd{path: filepath.Join(dir, "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, string(buf[:n]))
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *systemd) count(message string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.got {
		if m == message {
			n++
		}
	}
	return n
}

func TestSystemdIsNotifiedOfReadyPingsAndStopping(t *testing.T) {
	s := notifySocket(t)
	p := start(t, "daemon", board(t, ""), []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=150000"}, "-config", "c.yaml")
	await(t, "READY", func() bool { return s.count("READY=1\nSTATUS=running, version dev") == 1 })
	await(t, "pings", func() bool { return s.count("WATCHDOG=1") > 5 })
	if n := s.count("STOPPING=1"); n != 0 {
		t.Errorf("STOPPING %d times while running", n)
	}
	p.signal(t, syscall.SIGTERM)
	if exit := p.exit(t); exit != 0 {
		t.Errorf("exit %d", exit)
	}
	await(t, "STOPPING", func() bool { return s.count("STOPPING=1") == 1 })
}

func TestAFailedStartIsNotReady(t *testing.T) {
	s := notifySocket(t)
	p := start(t, "fail", board(t, ""), []string{"NOTIFY_SOCKET=" + s.path}, "-config", "c.yaml")
	p.exit(t)
	await(t, "STOPPING", func() bool { return s.count("STOPPING=1") == 1 })
	if n := s.count("READY=1\nSTATUS=running, version dev"); n != 0 {
		t.Errorf("READY %d times", n)
	}
}

// TestTheWatchdogPingIsWithheldWhenALoopIsStuck also sees that the loop which is
// not stuck makes no difference, and that the ping comes back with the loop.
func TestTheWatchdogPingIsWithheldWhenALoopIsStuck(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	s := notifySocket(t)
	dir := board(t, "")
	block := filepath.Join(dir, "block")
	env := []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=60000", "DAEMON_TEST_STUCK=" + block}
	p := start(t, "stuck", dir, env, "-config", "c.yaml")
	await(t, "pings", func() bool { return s.count("WATCHDOG=1") > 5 })

	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.awaitLog(t, `"level":"ERROR","msg":"the loop makes no progress; the watchdog is not pinged until it does","daemon":"metrics-test","loop":"upload"`)
	await(t, "STATUS", func() bool { return s.count("STATUS=stuck: upload") == 1 })
	before := s.count("WATCHDOG=1")
	time.Sleep(500 * time.Millisecond) // 25 pings' time
	if n := s.count("WATCHDOG=1"); n != before {
		t.Errorf("%d pings while a loop was stuck", n-before)
	}

	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	p.awaitLog(t, `"msg":"the loop makes progress again","daemon":"metrics-test","loop":"upload"`)
	await(t, "pings", func() bool { return s.count("WATCHDOG=1") > before+5 })
	if n := strings.Count(p.stdout.String(), `until it does","daemon":"metrics-test","loop":"upload"`); n != 1 {
		t.Errorf("said %d times that it is stuck:\n%s", n, &p.stdout)
	}
}

func TestAnUnreachableSystemdIsLoggedOnceAndSurvived(t *testing.T) {
	p := start(t, "daemon", board(t, ""), []string{"NOTIFY_SOCKET=/nonexistent/notify", "WATCHDOG_USEC=30000"}, "-config", "c.yaml")
	p.awaitLog(t, `"msg":"ready"`)
	p.signal(t, syscall.SIGTERM)
	if exit := p.exit(t); exit != 0 {
		t.Errorf("exit %d", exit)
	}
	if n := strings.Count(p.stdout.String(), "systemd could not be notified"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &p.stdout)
	}
}

// lockOf returns the pid in a lock file, and whether it is held.
func lockOf(path string) (pid int, held bool, err error) {
	s, err := ReadLock(path)
	return s.Written, s.Held, err
}
