package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// start takes the lock and runs the daemon or the command until it is done or
// asked to stop.
func (pr Program) start(p *Process, command *Command) (exit int, err error) {
	ctx, release := signal.NotifyContext(context.Background(), stopSignals()...)
	defer release()
	if command == nil || command.Locked {
		// A log whose reader is gone is no reason to end in the middle of the work.
		signal.Ignore(syscall.SIGPIPE)
	}

	if pr.Lock != nil && (command == nil || command.Locked) {
		p.lock, err = takeLock(pr.Lock(p.Config))
		if err != nil {
			if command == nil && !errors.Is(err, errHeld) {
				pr.noteFailure(p, err)
			}
			return exitFailure, err
		}
		p.adopt() // the lock, and what an earlier command that was killed left
	}
	run := func() result { return result{err: pr.Run(ctx, p)} }
	if command == nil {
		p.Log.Info("starting", "version", p.Version, "pid", os.Getpid(), "device_id", p.Config.Device.ID)
		stopWatch := p.startWatch()
		defer stopWatch()
	} else {
		run = func() result {
			exit, err := command.Run(ctx, p)
			return result{exit, err}
		}
	}

	end, hung := p.await(ctx, release, run, command == nil)
	if end.err != nil && end.exit == exitClean {
		end.exit = exitFailure
	}
	if hung || command == nil && end.err != nil {
		if ctx.Err() == nil {
			pr.noteFailure(p, end.err)
		}
		// The lock is left to the kernel, and its pid in the file: this is no
		// clean stop, and what still runs may still write.
		return end.exit, end.err
	}
	if command == nil {
		p.Log.Info("stopped", "uptime_seconds", int64(time.Since(p.Started).Seconds()))
	}
	if err := p.lock.release(); err != nil {
		return max(end.exit, exitFailure), errors.Join(end.err, err)
	}
	return end.exit, end.err
}

// stopSignals are those that stop cleanly. A terminal that hangs up stops what
// was started from it, unless SIGHUP is ignored, as with nohup(1).
// There is nothing to reload: a changed configuration needs a restart, which
// systemd does after this stop.
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// noteFailure leaves word of a failure that ends the daemon where health finds
// it, if that is possible within failureLimit.
func (pr Program) noteFailure(p *Process, err error) {
	if pr.Failed == nil {
		return
	}
	if !p.ready.Load() {
		err = fmt.Errorf("failed to start: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), failureLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- pr.Failed(ctx, p, err) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.Log.Warn("the failure could not be written to the database for metrics-health", "error", err)
	}
}

// A result is what a daemon or a command came to.
type result struct {
	exit int
	err  error
}

// await runs the daemon or the command. Once ctx ends it waits no longer than
// stopLimit. The signal handlers are released at that moment, so that a second
// signal kills.
func (p *Process) await(ctx context.Context, release func(), run func() result, isDaemon bool) (end result, hung bool) {
	done := make(chan result, 1)
	go func() { done <- run() }()
	returned := false
	select {
	case end = <-done:
		returned = true
	case <-ctx.Done():
		release()
		p.Log.Info("stopping", "cause", context.Cause(ctx).Error())
	}
	if isDaemon {
		p.notify(sd.SdNotifyStopping)
	}
	if !returned {
		select {
		case end = <-done:
		case <-time.After(stopLimit):
			err := fmt.Errorf("still running %s after the stop signal, %s: exiting without waiting further", stopLimit, p.running())
			return result{exitFailure, err}, true
		}
	}
	if isDaemon && ctx.Err() != nil && errors.Is(end.err, context.Canceled) {
		p.Log.Debug("interrupted by the stop", "error", end.err)
		end.err = nil
	}
	return end, false
}

// running names the loops that are in a run.
func (p *Process) running() string {
	var names []string
	for _, h := range p.Hearts() {
		if h.Running {
			names = append(names, h.Loop)
		}
	}
	if len(names) == 0 {
		return "no loop is in a run"
	}
	return "in " + strings.Join(names, ", ")
}
