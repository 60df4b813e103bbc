package daemon

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOtherSignals(t *testing.T) {
	for s, want := range map[syscall.Signal]string{
		syscall.SIGUSR1: "goes on", syscall.SIGUSR2: "goes on", syscall.SIGPIPE: "goes on", syscall.SIGALRM: "goes on",
		syscall.SIGQUIT: "stacks", // for debugging
	} {
		t.Run(s.String(), func(t *testing.T) {
			p := start(t, "daemon", board(t, ""), nil, "-config", "c.yaml")
			p.awaitLog(t, `"msg":"ready"`)
			p.signal(t, s)
			if want == "stacks" {
				if exit := p.exit(t); exit != 2 || !strings.Contains(p.stderr.String(), "goroutine ") {
					t.Errorf("exit %d, stderr %.200s", exit, &p.stderr)
				}
				return
			}
			p.signal(t, syscall.SIGTERM)
			if exit := p.exit(t); exit != 0 {
				t.Errorf("exit %d; stderr %.200s", exit, &p.stderr)
			}
		})
	}
}

func TestNohupIsRespected(t *testing.T) {
	dir := board(t, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0" -config c.yaml`, exe)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DAEMON_TEST_MODE=chatty", "NOTIFY_SOCKET=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	await(t, "a start", func() bool { return said(dir) > 0 })
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	then := said(dir)
	await(t, "the work goes on", func() bool { return said(dir) > then+1000 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAFailureThatEndsTheDaemonIsLeftForHealth(t *testing.T) {
	for _, c := range []struct {
		mode string
		args []string
		lock string // what is in the way of the lock
		want string
	}{
		{"fail", nil, "", "failed to start: no database"},
		{"fatal", nil, "", "loop store: newer schema"},
		{"daemon", nil, "directory", "failed to start: open the lock: "},
		{"daemon", []string{"-broken"}, "", ""}, // of a command
	} {
		dir := board(t, "")
		if c.lock != "" {
			if err := os.MkdirAll(filepath.Join(dir, "run/metrics-test.lock"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		p := start(t, c.mode, dir, nil, append([]string{"-config", "c.yaml"}, c.args...)...)
		if exit := p.exit(t); exit != 1 {
			t.Errorf("%s: exit %d", c.mode, exit)
		}
		got, _ := os.ReadFile(filepath.Join(dir, "run/failure"))
		if !strings.HasPrefix(string(got), c.want) || c.want == "" && len(got) > 0 {
			t.Errorf("%s %v: left %q, want %q", c.mode, c.args, got, c.want)
		}
	}

	// The row is of the instance that runs.
	dir := board(t, "")
	start(t, "daemon", dir, nil, "-config", "c.yaml").awaitLog(t, `"msg":"ready"`)
	if exit := start(t, "daemon", dir, nil, "-config", "c.yaml").exit(t); exit != 1 {
		t.Errorf("a second instance: exit %d", exit)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "run/failure")); err == nil {
		t.Errorf("a second instance left %q", got)
	}
}

func TestCheckAlsoRunsTheChecksOfTheProgram(t *testing.T) {
	for _, c := range []struct {
		faults, unseen string
		exit           int
		stdout, stderr string
	}{
		{"", "", 0, "c.yaml: ok\n", ""},
		{"", "token", 0, "c.yaml: ok\n", "c.yaml: not checked: token\n"},
		{"plaintext", "", 2, "", "c.yaml: plaintext\n"},
		{"plaintext mode", "token", 2, "", "c.yaml: plaintext\nc.yaml: mode\nc.yaml: not checked: token\n"},
	} {
		p := start(t, "daemon", board(t, ""), []string{"DAEMON_TEST_FAULTS=" + c.faults, "DAEMON_TEST_UNSEEN=" + c.unseen}, "-config", "c.yaml", "-check")
		if exit := p.exit(t); exit != c.exit || p.stdout.String() != c.stdout || p.stderr.String() != c.stderr {
			t.Errorf("%+v: exit %d, stdout %q, stderr %q", c, exit, &p.stdout, &p.stderr)
		}
	}
}

func TestFilesThatRootMadeGoToTheOwnerOfTheirDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const user, group = 12345, 12346
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	dir := filepath.Join(base, "data")
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(outside)
	if err := errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, user, group)); err != nil {
		t.Fatal(err)
	}
	given := []string{"metrics.db", "metrics.db-wal", "metrics.db.ballast", "metrics.db.damaged-1", "metrics-collector.lock"}
	for _, name := range append([]string{"config.yaml", "metrics.db.theirs"}, given...) {
		write(filepath.Join(dir, name))
	}
	theirs := filepath.Join(dir, "metrics.db.theirs")
	if err := errors.Join(
		os.Symlink(outside, filepath.Join(dir, "metrics.db.link")),
		os.Link(outside, filepath.Join(dir, "metrics.db.hard")),
		os.Mkdir(filepath.Join(dir, "metrics.db.dir"), 0o700),
		os.Chown(theirs, 777, 777),
	); err != nil {
		t.Fatal(err)
	}
	if err := adopt(filepath.Join(dir, "metrics.db")); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{theirs: 777, outside: 0, filepath.Join(dir, "config.yaml"): 0, filepath.Join(dir, "metrics.db.dir"): 0, filepath.Join(dir, "metrics.db.link"): 0}
	for _, name := range given {
		want[filepath.Join(dir, name)] = user
	}
	for path, uid := range want {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if sys := info.Sys().(*syscall.Stat_t); int(sys.Uid) != uid {
			t.Errorf("%s belongs to %d, want %d", path, sys.Uid, uid)
		}
	}

	// A whole command: what it makes and locks is of the user.
	run := filepath.Join(board(t, ""), "run")
	if err := errors.Join(os.Mkdir(run, 0o750), os.Chown(run, user, group)); err != nil {
		t.Fatal(err)
	}
	p := start(t, "daemon", filepath.Dir(run), nil, "-config", "c.yaml", "-drain")
	p.awaitLog(t, "draining")
	info, err := os.Stat(filepath.Join(run, "metrics-test.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if sys := info.Sys().(*syscall.Stat_t); sys.Uid != user || sys.Gid != group {
		t.Errorf("the lock belongs to %d:%d while the command runs", sys.Uid, sys.Gid)
	}
}
