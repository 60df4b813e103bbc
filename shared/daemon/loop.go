package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

// failureDelay is the wait after a failed run that named none, so that a loop
// cannot spin on its failures.
const failureDelay = time.Second

// Loop runs fn now, and again after the delay that fn returned, until ctx ends;
// it then returns nil. A run that fails is logged and the loop goes on, unless
// the error is Fatal: then Loop returns it. An error that comes back after ctx
// ended is treated as a consequence of that.
//
// The name is that of the loop's heart, and unique in the process.
func (p *Process) Loop(ctx context.Context, name string, fn func(context.Context) (next time.Duration, err error)) error {
	return p.LoopOn(ctx, name, nil, fn)
}

// LoopOn is Loop for work that also runs when wake gets something, however much
// of the delay is left: a process that wakes up for one loop does the work of
// others in the same moment, as each waking costs more than most work.
func (p *Process) LoopOn(ctx context.Context, name string, wake <-chan struct{},
	fn func(context.Context) (next time.Duration, err error),
) error {
	h := p.addHeart(name)
	defer p.removeHeart(h)
	f := failing{log: p.Log.With("loop", name)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-wake:
		}
		if ctx.Err() != nil { // both were ready
			return nil
		}
		p.begin(h)
		next, err := fn(ctx)
		if err != nil && next <= 0 {
			next = failureDelay
		}
		p.end(h, next, err)
		if fatal := (*fatalError)(nil); errors.As(err, &fatal) {
			return fmt.Errorf("loop %s: %w", name, err)
		}
		if ctx.Err() != nil {
			if err != nil {
				f.log.Debug("run interrupted by the stop", "error", err)
			}
			return nil
		}
		f.note(err, next)
		timer.Reset(max(next, 0))
	}
}

// Every runs fn now, and then at whole intervals from now, until ctx ends. A
// run that outlasts the interval costs the beats it covers: the next one is on
// the beat, and nothing is made up for. Errors are as in Loop.
func (p *Process) Every(ctx context.Context, name string, interval time.Duration, fn func(context.Context) error) error {
	if interval <= 0 {
		panic("BUG: loop " + name + " has no interval")
	}
	start := time.Now() // with the monotonic clock: steps of the wall clock do nothing
	return p.Loop(ctx, name, func(ctx context.Context) (time.Duration, error) {
		err := fn(ctx)
		return interval - time.Since(start)%interval, err
	})
}

// Fatal marks an error that ends the process instead of being tried again: Loop
// returns it, Run passes it on, and the exit status is 1.
func Fatal(err error) error {
	if err == nil {
		return nil
	}
	return &fatalError{err}
}

type fatalError struct{ err error }

func (f *fatalError) Error() string { return f.err.Error() }
func (f *fatalError) Unwrap() error { return f.err }

// failing words a row of failures: the first and every other text loudly, the
// repeats at debug, and the end.
type failing struct {
	log   *slog.Logger
	count int
	since time.Time
	text  string // of the last failure, without its numbers
}

// numbers that differ between otherwise equal failures: ports, sizes, ids. A
// status of three digits is worth a line of its own.
var numbers = regexp.MustCompile(`[0-9]{4,}`)

func (f *failing) note(err error, next time.Duration) {
	if err == nil {
		if f.count > 0 {
			f.log.Info("recovered", "failures", f.count, "failing_ms", time.Since(f.since).Milliseconds())
		}
		f.count, f.text = 0, ""
		return
	}
	if f.count == 0 {
		f.since = time.Now()
	}
	f.count++
	level, text := slog.LevelWarn, numbers.ReplaceAllString(err.Error(), "#")
	if text == f.text {
		level = slog.LevelDebug
	}
	f.text = text
	f.log.Log(context.Background(), level, "run failed, will retry", "error", err, "failures", f.count, "retry_in_ms", next.Milliseconds())
}
