package daemon

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// smallPipe is a pipe that holds 4 KiB. It is in blocking mode, as a shell's is.
func smallPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(ends[0])
	syscall.CloseOnExec(ends[1])
	const setPipeSize = 1031 // fcntl(2), F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[1]), setPipeSize, 4096); errno != 0 {
		t.Fatal(errno)
	}
	r, w = os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// said is how many lines a chatty program has logged, 0 for not yet.
func said(dir string) int {
	text, _ := os.ReadFile(filepath.Join(dir, "run/said"))
	n, _ := strconv.Atoi(string(text))
	return n
}

func TestALogThatAcceptsNoLinesStopsNeitherTheLoopsNorTheExit(t *testing.T) {
	mustOpen := func(path string, flag int) *os.File {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	for name, of := range map[string]func(t *testing.T, dir string) (stdout *os.File, logging string){
		"a pipe that nobody reads": func(t *testing.T, _ string) (*os.File, string) {
			_, w := smallPipe(t)
			return w, "{level: info}"
		},
		"a pipe whose reader is gone": func(t *testing.T, _ string) (*os.File, string) {
			r, w := smallPipe(t)
			r.Close()
			return w, "{level: info}"
		},
		"a full disk": func(t *testing.T, _ string) (*os.File, string) {
			return mustOpen("/dev/full", os.O_WRONLY), "{level: info}"
		},
		"a file that may not be written": func(t *testing.T, _ string) (*os.File, string) {
			return mustOpen("/dev/null", os.O_RDONLY), "{level: info}"
		},
		"a file that is a pipe without a reader": func(t *testing.T, dir string) (*os.File, string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "log"), 0o600); err != nil {
				t.Fatal(err)
			}
			return nil, "{output: log}"
		},
		"a directory": func(*testing.T, string) (*os.File, string) { return nil, "{output: .}" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := board(t, "")
			stdout, logging := of(t, dir)
			if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("device: {id: board}\nstorage: {path: run/metrics.db}\nlogging: "+logging+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := startOn(t, stdout, "chatty", dir, nil, "-config", "c.yaml")
			// Far more than the pipe and the queue hold.
			await(t, "the work goes on", func() bool { return said(dir)*200 > 4*maxQueued })
			p.signal(t, syscall.SIGTERM)
			if exit := p.exit(t); exit != 0 {
				t.Errorf("exit %d, want 0; stderr %.300s", exit, &p.stderr)
			}
		})
	}
}

func TestALogOnAClosedStdoutStopsNoLoop(t *testing.T) {
	dir := board(t, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `exec "$0" -config c.yaml >&- 2>&-`, exe)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DAEMON_TEST_MODE=chatty")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	await(t, "the work goes on", func() bool { return said(dir) > 1000 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestLinesThatTheLogCannotAcceptAreCounted(t *testing.T) {
	dir := board(t, "")
	r, w := smallPipe(t)
	p := startOn(t, w, "chatty", dir, nil, "-config", "c.yaml")
	w.Close()
	await(t, "more than fits", func() bool { return said(dir)*200 > 4*maxQueued })
	if err := os.WriteFile(filepath.Join(dir, "enough"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := -1
	await(t, "the last line", func() bool { was := before; before = said(dir); return was == before })
	p.signal(t, syscall.SIGTERM)
	chatter, dropped, others := 0, 0, map[string]int{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var line struct {
			Level, Msg string
			Lines      int
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		switch {
		case line.Msg == "chatter":
			chatter++
		case line.Lines > 0 && line.Level == "WARN":
			dropped += line.Lines
		default:
			others[line.Msg]++
		}
	}
	if exit := p.exit(t); exit != 0 {
		t.Errorf("exit %d", exit)
	}
	// What else is said may be among the dropped.
	if all := chatter + dropped; dropped == 0 || all < said(dir) || all > said(dir)+4 {
		t.Errorf("%d lines of chatter and %d dropped, of %d; others %v", chatter, dropped, said(dir), others)
	}
}

func TestALogQueueNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe() // takes nothing until it is read
		q := newLogQueue(w, func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) })
		begun := time.Now()
		for range 10 * maxQueued / 100 {
			if n, err := q.Write(make([]byte, 100)); n != 100 || err != nil {
				t.Fatal(n, err)
			}
		}
		if q.bytes > maxQueued {
			t.Errorf("%d bytes are queued", q.bytes)
		}
		if q.close(closeLimit) {
			t.Error("closed although nothing was read")
		}
		if took := time.Since(begun); took != closeLimit {
			t.Errorf("took %s", took)
		}
		r.Close()
		<-q.done
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestALogLineWaitsOnlyOnceForAReaderThatStopped(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	calls := 0
	p := &patient{w: writerFunc(func(b []byte) (int, error) {
		if calls++; calls > 1 {
			<-block
		}
		return len(b), nil
	})}
	if n, err := io.WriteString(p, "first"); n != 5 || err != nil {
		t.Error(n, err)
	}
	for range 100 { // waits for one of them
		if _, err := io.WriteString(p, "more"); !errors.Is(err, errNotTaken) {
			t.Error(err)
		}
	}
}

func TestTheJournalGetsPrioritiesAndReadableText(t *testing.T) {
	var out strings.Builder
	log := slog.New(handlerFor("journal", nil, &out, slog.LevelDebug)).With("daemon", "metrics-test", "loop", "upload")
	log.Debug("looked")
	log.Info("ready", "start_ms", 12)
	log.Warn("run failed, will retry", "error", errors.New("dial tcp: \x1b[31mrefused\ntwice"))
	log.Error("two\nlines", "group", slog.GroupValue(slog.String("daemon", "kept")))
	const want = `<7>looked loop=upload
<6>ready loop=upload start_ms=12
<4>run failed, will retry loop=upload error="dial tcp: \x1b[31mrefused\ntwice"
<3>two; lines loop=upload group.daemon=kept
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestTheFormatFollowsTheStream(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	sys := info.Sys().(*syscall.Stat_t)
	stream := fmt.Sprintf("%d:%d", sys.Dev, sys.Ino)
	for _, c := range []struct {
		format, stream, want string
	}{
		{"auto", stream, "<6>hello\n"},
		{"auto", "8:1", "{"},
		{"auto", "", "{"},
		{"json", stream, "{"},
		{"journal", "", "<6>hello\n"},
	} {
		t.Setenv("JOURNAL_STREAM", c.stream)
		var out strings.Builder
		slog.New(handlerFor(c.format, file, &out, slog.LevelInfo)).Info("hello")
		if !strings.HasPrefix(out.String(), c.want) {
			t.Errorf("%s on a stream %q: %s", c.format, c.stream, out.String())
		}
	}
}
