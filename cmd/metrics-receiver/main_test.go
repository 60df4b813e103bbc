package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the built binary, made by TestMain without cgo.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "metrics-receiver")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "metrics-receiver")
		build := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-X github.com/taniwha3/thugshells/shared/version.Version=1.2.3-test -X github.com/taniwha3/thugshells/shared/version.Revision=abc", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			os.Stderr.WriteString("build without cgo: " + err.Error() + "\n" + string(out))
			return 1
		}
		return m.Run()
	}())
}

// SQLite without cgo compiles and then fails when it is first used, so the
// compiler does not notice when something here comes to depend on it.
func TestDependsOnNoDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const own = "github.com/taniwha3/thugshells/"
	allowed := map[string]bool{own + "shared/metric": true, own + "shared/vmjson": true, own + "shared/receiver": true, own + "shared/version": true, own + "cmd/metrics-receiver": true}
	seen := 0
	for pkg := range strings.FieldsSeq(string(out)) {
		if allowed[pkg] {
			seen++
		} else if domain, _, _ := strings.Cut(pkg, "/"); strings.Contains(domain, ".") || pkg == "database/sql" {
			t.Errorf("depends on %s", pkg)
		}
	}
	if seen != len(allowed) {
		t.Errorf("listed %d of our own packages, want %d:\n%s", seen, len(allowed), out)
	}
}

// command returns the program with nothing in its environment but settings.
func command(t *testing.T, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append([]string{"LISTEN=127.0.0.1", "PORT=0"}, settings...)
	return cmd
}

// finish runs cmd, which ends by itself, to its end.
func finish(t *testing.T, cmd *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	defer time.AfterFunc(20*time.Second, func() {
		t.Errorf("%q still runs after 20 s", cmd.Args)
		cmd.Process.Kill()
	}).Stop()
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// A running program. It is killed with the test if it has not ended before.
type running struct {
	*exec.Cmd
	base   string
	stdout *bufio.Reader
	stderr *bytes.Buffer
}

func launch(t *testing.T, settings ...string) running {
	t.Helper()
	cmd := command(t, settings)
	r := running{Cmd: cmd, stderr: &bytes.Buffer{}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = r.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	r.stdout = bufio.NewReader(out)
	line, err := r.stdout.ReadString('\n')
	_, base, found := strings.Cut(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("first line %q, %v", line, err)
	}
	r.base = base
	return r
}

func (r running) post(t *testing.T, body string, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.base+"/api/v1/import", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const body = `{"metric":{"__name__":"up","device_id":"b7"},"values":[1],"timestamps":[1751328000000]}` + "\nbad\n"

func TestTakesSamplesAndStopsOnSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		r := launch(t, "VERBOSE=true")
		status, text := r.post(t, body, "")
		if want := `{"accepted":1,"rejected":[{"line":2,"error":"byte 1: expected '{', found \"bad\""}]}`; status != 200 || text != want {
			t.Errorf("%d %s, want %s", status, text, want)
		}
		if err := r.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		printed, err := io.ReadAll(r.stdout)
		if want := "2025-07-01T00:00:00.000Z up{device_id=\"b7\"} 1\n"; err != nil || string(printed) != want {
			t.Errorf("printed %q, %v, want %q", printed, err, want)
		}
		if err := r.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", sig, err, r.stderr)
		}
		if n := strings.Count(r.stderr.String(), "\n"); n != 1 || !strings.Contains(r.stderr.String(), "lines rejected") {
			t.Errorf("log: %q", r.stderr)
		}
	}
}

func TestPrintsNoSampleUnlessAsked(t *testing.T) {
	r := launch(t)
	if status, text := r.post(t, body, ""); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if printed, err := io.ReadAll(r.stdout); err != nil || len(printed) > 0 {
		t.Errorf("printed %q, %v", printed, err)
	}
}

func TestTokenComesFromItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := launch(t, "AUTH_TOKEN_FILE="+file)
	for token, want := range map[string]int{"": 401, "other": 401, "s3cret-token": 200} {
		if status, text := r.post(t, body, token); status != want {
			t.Errorf("token %q: %d %s, want %d", token, status, text, want)
		}
	}
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.stdout); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil || strings.Contains(r.stderr.String(), "s3cret") {
		t.Errorf("%v: %s", err, r.stderr)
	}
}

func TestBadSettingsEndWithStatus2(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "AUTH_TOKEN_FILE=" + path
	}
	f := func(want string, settings ...string) {
		t.Helper()
		status, stdout, stderr := finish(t, command(t, settings))
		if status != 2 || stdout != "" || !strings.Contains(stderr, want) || strings.Contains(stderr, "s3cret") {
			t.Errorf("%q: status %d, stdout %q, stderr %q, want %q", settings, status, stdout, stderr, want)
		}
	}
	f(`PORT: want a number from 0 to 65535, got "70000"`, "PORT=70000")
	f(`PORT: want a number from 0 to 65535, got "-1"`, "PORT=-1")
	f(`PORT: want a number from 0 to 65535, got "http"`, "PORT=http")
	f(`LISTEN: want an IP address without a port, such as 127.0.0.1 or 0.0.0.0, got "127.0.0.1:9090"`, "LISTEN=127.0.0.1:9090")
	f(`LISTEN: `, "LISTEN=example.com")
	f(`VERBOSE: want true or false, got "yes please"`, "VERBOSE=yes please")
	f(`AUTH_TOKEN_FILE: `, "AUTH_TOKEN_FILE="+dir+"/absent")
	f(`want a token of 1 to 4096 bytes`, write("empty", "\n"))
	f(`want a token of 1 to 4096 bytes`, write("long", strings.Repeat("s3cret", 1000)))
	f(`without spaces`, write("two", "s3cret s3cret"))
	f(`without spaces`, write("control", "s3cret\r\nX: y"))
	f("PORT: want a number from 0 to 65535, got \"x\"\nVERBOSE: want true or false, got \"x\"\n", "PORT=x", "VERBOSE=x")
}

func TestArguments(t *testing.T) {
	f := func(status int, stdout, stderr string, args ...string) {
		t.Helper()
		gotStatus, gotOut, gotErr := finish(t, command(t, nil, args...))
		if gotStatus != status || gotOut != stdout || !strings.Contains(gotErr, stderr) {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, gotStatus, gotOut, gotErr)
		}
	}
	f(0, fmt.Sprintf("metrics-receiver 1.2.3-test\nrevision abc\ngo       %s\nplatform %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH), "", "-version")
	f(0, "", "usage:", "-help")
	f(2, "", "usage:", "-port=1")
	f(2, "", `unexpected argument "9090"`, "9090")
}

func TestTakenPortEndsWithStatus1(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := finish(t, command(t, []string{"PORT=" + port}))
	if status != 1 || stdout != "" || !strings.Contains(stderr, "address already in use") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

func TestListensOnLoopbackByDefault(t *testing.T) {
	s, err := readSettings(func(string) string { return "" })
	if err != nil || s.address != "127.0.0.1:9090" || s.verbose || s.token != "" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = readSettings(func(name string) string { return map[string]string{"LISTEN": "::", "PORT": "80"}[name] })
	if err != nil || s.address != "[::]:80" {
		t.Errorf("%+v, %v", s, err)
	}
}
