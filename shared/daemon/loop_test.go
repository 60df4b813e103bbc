package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// logged is a Process whose log lines can be read back, without their times.
type logged struct {
	*Process
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func newLogged() *logged {
	l := &logged{}
	l.Process = &Process{Log: slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	return l
}

// lines gives each log line as "LEVEL msg key=value …" of the keys asked for.
func (l *logged) lines(t *testing.T, keys ...string) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(l.buf.String()) {
		var attrs map[string]any
		if err := json.Unmarshal([]byte(line), &attrs); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		text := fmt.Sprintf("%v %v", attrs["level"], attrs["msg"])
		for _, key := range keys {
			if v, ok := attrs[key]; ok {
				text += fmt.Sprintf(" %s=%v", key, v)
			}
		}
		lines = append(lines, text)
	}
	return lines
}

func TestEveryRunsAtItsIntervalWithoutDriftOrBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var at []time.Duration
		lasts := []time.Duration{0, 3 * time.Second, 0, 35 * time.Second, time.Second, 10 * time.Second, 0, 0}
		err := p.Every(ctx, "beat", 10*time.Second, func(context.Context) error {
			at = append(at, time.Since(start))
			time.Sleep(lasts[len(at)-1])
			if len(at) == len(lasts) {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		// The fourth run covers the beats at 40, 50 and 60; the sixth ends on
		// the beat at 90, which counts as covered.
		want := []time.Duration{0, 10, 20, 30, 70, 80, 100, 110}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
	})
}

func TestALoopWaitsAsLongAsItsRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var at []time.Duration
		steps := []struct {
			next time.Duration
			err  error
		}{
			{time.Second, nil}, {time.Minute, errors.New("x")}, {0, nil}, {-time.Hour, nil}, {0, errors.New("x")}, {24 * time.Hour, nil}, {time.Hour, nil},
		}
		err := p.Loop(ctx, "steps", func(context.Context) (time.Duration, error) {
			at = append(at, time.Since(start))
			step := steps[len(at)-1]
			if len(at) == len(steps) {
				cancel()
			}
			return step.next, step.err
		})
		if err != nil {
			t.Error(err)
		}
		s := time.Second
		// A failure that names no delay waits a second.
		want := []time.Duration{0, s, 61 * s, 61 * s, 61 * s, 62 * s, 62*s + 24*time.Hour}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
	})
}

func TestLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Loop(ended, "late", func(context.Context) (time.Duration, error) { panic("ran") }); err != nil {
			t.Error(err)
		}

		// In a wait.
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		runs := 0
		start := time.Now()
		if err := p.Every(ctx, "waiting", time.Minute, func(context.Context) error { runs++; return nil }); err != nil {
			t.Error(err)
		}
		if runs != 2 || time.Since(start) != 90*time.Second {
			t.Errorf("got %d runs in %s, want 2 in 1m30s", runs, time.Since(start))
		}

		// In a run: what it returns then is no failure.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Every(ctx, "running", time.Minute, func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("interrupted")
		})
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"DEBUG run interrupted by the stop loop=running"}, p.lines(t, "loop")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		if hearts := p.Hearts(); len(hearts) != 0 {
			t.Errorf("hearts of ended loops: %+v", hearts)
		}
	})
}

func TestFatalEndsTheLoopWithItsError(t *testing.T) {
	p := newLogged()
	cause := errors.New("wrong schema")
	runs := 0
	err := p.Every(t.Context(), "store", time.Hour, func(context.Context) error {
		runs++
		return fmt.Errorf("open: %w", Fatal(cause))
	})
	if !errors.Is(err, cause) || err.Error() != "loop store: open: wrong schema" || runs != 1 {
		t.Errorf("got %v after %d runs", err, runs)
	}
	if lines := p.lines(t); len(lines) != 0 {
		t.Errorf("logged what is returned: %v", lines)
	}
	if Fatal(nil) != nil {
		t.Error("Fatal(nil) is an error")
	}
}

func TestFailuresAreLoggedWhenTheyBeginChangeAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		runs := []string{
			"", "dial :40001: refused", "dial :40002: refused", "dial :9: refused", "status 503", "status 500", "status 500", "", "", "status 500", "",
		}
		i := 0
		err := p.Every(ctx, "upload", time.Minute, func(context.Context) error {
			defer func() { i++ }()
			if i == len(runs)-1 {
				defer cancel()
			}
			if runs[i] == "" {
				return nil
			}
			return errors.New(runs[i])
		})
		if err != nil {
			t.Error(err)
		}
		want := []string{
			"WARN run failed, will retry error=dial :40001: refused failures=1 retry_in_ms=60000",
			"DEBUG run failed, will retry error=dial :40002: refused failures=2 retry_in_ms=60000",
			"WARN run failed, will retry error=dial :9: refused failures=3 retry_in_ms=60000",
			"WARN run failed, will retry error=status 503 failures=4 retry_in_ms=60000",
			"WARN run failed, will retry error=status 500 failures=5 retry_in_ms=60000",
			"DEBUG run failed, will retry error=status 500 failures=6 retry_in_ms=60000",
			"INFO recovered failures=6 failing_ms=360000",
			"WARN run failed, will retry error=status 500 failures=1 retry_in_ms=60000",
		}
		if diff := cmp.Diff(want, p.lines(t, "error", "failures", "failing_ms", "retry_in_ms")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestALoopIsStuckPastItsLimitAndRecoversWithProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		p.LoopLimits = map[string]time.Duration{"patient": time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		hold := make(chan struct{})
		block := func(context.Context) error { <-hold; return nil }
		wg.Go(func() { _ = p.Every(ctx, "hourly", time.Hour, block) })
		wg.Go(func() { _ = p.Every(ctx, "patient", time.Hour, block) })
		wg.Go(func() { _ = p.Every(ctx, "beating", time.Hour, block) })
		wg.Go(func() { _ = p.Every(ctx, "idle", 24*time.Hour, func(context.Context) error { return nil }) })

		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, p.Stuck()); diff != "" {
				t.Errorf("stuck (-want +got):\n%s", diff)
			}
		}
		time.Sleep(loopLimit)
		expect()
		p.Beat("beating")
		p.Beat("idle") // between its runs: nothing
		time.Sleep(time.Millisecond)
		expect("hourly")
		time.Sleep(loopLimit)
		expect("beating", "hourly")
		time.Sleep(time.Hour)
		expect("beating", "hourly", "patient")
		close(hold)
		expect()
		cancel()
		wg.Wait()
	})
}

// TestALoopWhoseDueRunDoesNotStartIsStuck holds a loop up where fn has returned and
// the next run is late: here in the writing of its log line.
func TestALoopWhoseDueRunDoesNotStartIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := &Process{Log: slog.New(slog.NewJSONHandler(waitingWriter{hold}, nil))}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = p.Every(ctx, "held", 10*time.Second, func(context.Context) error { return errors.New("x") })
		})
		time.Sleep(10*time.Second + loopLimit)
		if stuck := p.Stuck(); stuck != nil {
			t.Errorf("stuck early: %v", stuck)
		}
		time.Sleep(time.Millisecond)
		if diff := cmp.Diff([]string{"held"}, p.Stuck()); diff != "" {
			t.Errorf("stuck (-want +got):\n%s", diff)
		}
		close(hold)
		cancel()
		wg.Wait()
	})
}

type waitingWriter struct{ hold chan struct{} }

func (w waitingWriter) Write(b []byte) (int, error) { <-w.hold; return len(b), nil }

func TestProgressShowsTheStateOfEachLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var wg sync.WaitGroup
		n := 0
		wg.Go(func() {
			_ = p.Every(ctx, "b", 10*time.Second, func(context.Context) error {
				if n++; n == 2 {
					return errors.New("no luck")
				}
				return nil
			})
		})
		hold := make(chan struct{})
		wg.Go(func() { _ = p.Every(ctx, "a", time.Minute, func(context.Context) error { <-hold; return nil }) })
		time.Sleep(12 * time.Second)
		want := []Heart{
			{Loop: "a", Running: true, Beat: start, Due: start, Runs: 1},
			{
				Loop: "b", Beat: start.Add(10 * time.Second), Due: start.Add(20 * time.Second), Runs: 2, Failures: 1,
				LastSuccess: start, LastFailure: start.Add(10 * time.Second), LastError: "no luck",
			},
		}
		if diff := cmp.Diff(want, p.Hearts()); diff != "" {
			t.Errorf("hearts (-want +got):\n%s", diff)
		}
		close(hold)
		cancel()
		wg.Wait()
	})
}

func TestWithoutSystemdAStuckLoopIsLoggedOnce(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		hold := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Every(ctx, "upload", time.Hour, func(context.Context) error { <-hold; return nil }) })
		stop := p.startWatch()
		time.Sleep(10 * time.Minute)
		close(hold)
		time.Sleep(time.Minute)
		want := []string{"ERROR the loop makes no progress; the daemon waits for it loop=upload", "INFO the loop makes progress again loop=upload"}
		if diff := cmp.Diff(want, p.lines(t, "loop")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		stop()
		cancel()
		wg.Wait()
	})
}

func TestTheWatchdogIsPingedThreeTimesInItsLimit(t *testing.T) {
	s := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		ctx, cancel := context.WithCancel(t.Context())
		watch := make(chan struct{})
		go func() {
			defer close(watch)
			p.watch(ctx, time.Minute)
		}()
		time.Sleep(10*time.Minute + time.Second)
		cancel()
		<-watch
		if lines := p.lines(t); len(lines) != 0 {
			t.Errorf("log: %v", lines)
		}
	})
	await(t, "pings at 0, 20, 40 … 600 s", func() bool { return s.count("WATCHDOG=1") == 31 })
}

func TestEachStuckLoopIsLoggedWhenItBecomesSo(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	synctest.Test(t, func(t *testing.T) {
		p := newLogged()
		p.LoopLimits = map[string]time.Duration{"late": time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Every(ctx, "early", time.Hour, func(context.Context) error { <-first; return nil }) })
		wg.Go(func() { _ = p.Every(ctx, "late", time.Hour, func(context.Context) error { <-second; return nil }) })
		wg.Go(func() { p.watch(ctx, time.Minute) })
		time.Sleep(2 * time.Hour)
		close(first)
		time.Sleep(time.Minute)
		close(second)
		time.Sleep(time.Minute)
		const stuck, moves = "ERROR the loop makes no progress; the watchdog is not pinged until it does", "INFO the loop makes progress again"
		want := []string{stuck + " loop=early", stuck + " loop=late", moves + " loop=early", moves + " loop=late"}
		if diff := cmp.Diff(want, p.lines(t, "loop")); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		cancel()
		wg.Wait()
	})
}

func TestTwoLoopsOfOneNameAreABug(t *testing.T) {
	p := newLogged()
	defer func() {
		if r := recover(); r != "BUG: two loops are named x" {
			t.Errorf("got %v", r)
		}
	}()
	_ = p.Loop(t.Context(), "x", func(ctx context.Context) (time.Duration, error) {
		return 0, p.Loop(ctx, "x", nil)
	})
}
