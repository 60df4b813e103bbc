// Package daemon is the process shell of the programs: flags, configuration,
// log, lock, signals, loops and the conversation with systemd. What all of them
// need, and none should word differently, is here; databases, HTTP and samples
// are not.
//
// A main is a Program and one line: os.Exit(daemon.Main(program)). Its Run opens
// what it needs, calls Process.Ready and runs its work in Process.Loop and
// Process.Every, each in a goroutine of an errgroup.
//
// Panics are not recovered: one ends the process with its stack in the journal,
// systemd starts it again, and the other daemons never notice.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/taniwha3/thugshells/shared/config"
)

// Version is set when the program is linked:
// -ldflags "-X github.com/taniwha3/thugshells/shared/daemon.Version=1.2.3".
var Version = "dev"

// Exit statuses of Main.
const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2 // bad usage or configuration
)

// stopLimit is how long Run may take to come back once it is told to stop. With
// what follows, the process is gone within 5 s.
const stopLimit = 4500 * time.Millisecond

// Program is one of the daemons, with the one-shot modes it has beside.
type Program struct {
	Name     string // metrics-shipper
	Summary  string // one sentence for -h
	Lock     func(config.Config) string
	Run      func(ctx context.Context, p *Process) error
	Commands []Command
	Flags    func(fs *flag.FlagSet)
}

// Command is a one-shot mode such as -once. Its log goes to stderr, so that
// stdout holds the answer and nothing else.
type Command struct {
	Flag, Help string
	Locked     bool // takes the daemon's lock, so that it cannot run beside it
	Run        func(ctx context.Context, p *Process) (exit int, err error)
}

// Main runs the program with the flags of os.Args and returns its exit status:
// 0 after a clean stop, 1 after a failure, 2 for bad usage or configuration, and
// for a command what it returns.
//
// Lock is the path of the file that keeps a second instance out; nil means none.
// Run is the daemon; it comes back after ctx ends, which the first SIGTERM or
// SIGINT does. A second one kills. Flags adds what the commands read; these are
// refused without a command, as a daemon's settings are in its file.
func Main(pr Program) int {
	// What the daemons create is for their user and group alone.
	syscall.Umask(0o027)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // a little CPU for two MB less
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// The work is short and far between: a second thread to run it costs a fifth
		// of the CPU and 1.5 MiB, and drains no faster.
		runtime.GOMAXPROCS(1)
	}
	return pr.main(os.Args[1:], os.Stdout, os.Stderr)
}

func (pr Program) main(args []string, stdout, stderr io.Writer) int {
	o, err := pr.options(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		o.flags.SetOutput(stdout)
		pr.usage(o.flags)
		return exitClean
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n%s: -h lists the flags\n", pr.Name, err, pr.Name)
		return exitUsage
	case o.version:
		fmt.Fprintln(stdout, pr.Name, Version)
		return exitClean
	}

	cfg, err := config.Load(o.config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if advice := cfg.Advice(); o.check && len(advice) > 0 {
		for _, text := range advice {
			fmt.Fprintf(stderr, "%s: %s\n", cmp.Or(o.config, config.DefaultPath), text)
		}
		return exitUsage
	}
	if o.check {
		if _, err := os.Stat(config.DefaultPath); o.config == "" && err != nil {
			fmt.Fprintf(stdout, "%s: absent, the defaults: ok\n", config.DefaultPath)
		} else if o.config == "" {
			fmt.Fprintf(stdout, "%s: ok\n", config.DefaultPath)
		} else {
			fmt.Fprintf(stdout, "%s: ok\n", o.config)
		}
		return exitClean
	}

	logging := cfg.Logging
	if o.command != nil {
		logging.Output = "stderr"
	}
	log, closeLog, err := newLogger(logging, stdout, stderr)
	if err != nil && logging.Output != "stderr" {
		// Measuring goes before keeping a log: a file that one of the users cannot
		// write, or a full disk, must not end the daemon at every start.
		fmt.Fprintf(stderr, "%s: warning: %v; the log goes to stderr\n", pr.Name, err)
		logging.Output = "stderr"
		log, closeLog, err = newLogger(logging, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", pr.Name, err)
		return exitFailure
	}
	p := &Process{
		Config: cfg, Log: log.With("daemon", pr.Name), Name: pr.Name, Version: Version,
		Started: time.Now(), Stdout: stdout, Stderr: stderr,
	}
	exit, err := pr.start(p, o.command)
	if err != nil {
		p.Log.Error("ended with a failure", "error", err)
		// Whoever started it by hand does not see a log in a file.
		if logging.Output != "stdout" && logging.Output != "stderr" {
			fmt.Fprintf(stderr, "%s: %v\n", pr.Name, err)
		}
	}
	if err := closeLog(); err != nil {
		fmt.Fprintf(stderr, "%s: close the log: %v\n", pr.Name, err)
	}
	return exit
}

// start takes the lock and runs the daemon or the command until it is done or
// told to stop.
func (pr Program) start(p *Process, command *Command) (exit int, err error) {
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()

	if pr.Lock != nil && (command == nil || command.Locked) {
		p.lock, err = takeLock(pr.Lock(p.Config))
		if err != nil {
			return exitFailure, err
		}
	}
	run := func() ending { return ending{err: pr.Run(ctx, p)} }
	if command == nil {
		p.Log.Info("starting", "version", p.Version, "pid", os.Getpid(), "device_id", p.Config.Device.ID)
		stopWatch := p.startWatch()
		defer stopWatch()
	} else {
		run = func() ending {
			exit, err := command.Run(ctx, p)
			return ending{exit, err}
		}
	}

	end, hung := p.await(ctx, release, run, command == nil)
	if end.err != nil && end.exit == exitClean {
		end.exit = exitFailure
	}
	if hung || command == nil && end.err != nil {
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

// ending is what a daemon or a command came to.
type ending struct {
	exit int
	err  error
}

// await runs the daemon or the command. Once ctx ends it waits no longer than
// stopLimit. The signal handlers are released at that moment, so that a second
// signal kills.
func (p *Process) await(ctx context.Context, release func(), run func() ending, isDaemon bool) (end ending, hung bool) {
	done := make(chan ending, 1)
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
			err := fmt.Errorf("still running %s after the signal to stop, %s: giving up on it", stopLimit, p.running())
			return ending{exitFailure, err}, true
		}
	}
	if isDaemon && ctx.Err() != nil && errors.Is(end.err, context.Canceled) {
		p.Log.Debug("broken off", "error", end.err)
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
