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
	"log/slog"
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
var Version = unstamped

// Exit statuses of Main.
const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2 // bad usage or configuration
)

// stopLimit is how long Run may take to come back once it is told to stop. With
// what follows, the process is gone within 5 s.
const stopLimit = 4200 * time.Millisecond

// failureLimit is how long a daemon that ends with a failure may take to leave
// word of it.
const failureLimit = 2 * time.Second

// Program is one of the daemons, with the one-shot modes it has beside.
type Program struct {
	Name     string // metrics-shipper
	Summary  string // one sentence for -h
	Lock     func(config.Config) string
	Run      func(ctx context.Context, p *Process) error
	Commands []Command
	Flags    func(fs *flag.FlagSet)
	// Check looks at what the configuration names, for -check: what is wrong with
	// it, and what could not be looked at.
	Check func(c config.Config) (faults, unseen []string)
	// Failed leaves word of a failure that ends the daemon.
	Failed func(ctx context.Context, p *Process, failure error) error
}

// Command is a one-shot mode such as -once. Its log goes to stderr, so that
// stdout holds the answer and nothing else.
type Command struct {
	Flag, Help string
	Args       string  // what it takes beside flags, such as "[NAME...]"; empty: nothing
	Value      *string // what the flag is given; nil: it stands alone
	Locked     bool    // takes the daemon's lock, so that it cannot run beside it
	Run        func(ctx context.Context, p *Process) (exit int, err error)
}

// Main runs the program with the flags of os.Args and returns its exit status:
// 0 after a clean stop, 1 after a failure, 2 for bad usage or configuration, and
// for a command what it returns.
//
// Lock is the path of the file that keeps a second instance out; nil means none.
// Run is the daemon; it comes back after ctx ends, which the first SIGTERM,
// SIGINT or SIGHUP does. A second one kills. Flags adds what the commands read; these are
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
	stderr = &patient{w: stderr}
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
		printVersion(stdout, pr.Name)
		return exitClean
	}
	cfg, err := config.Load(o.config)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if o.check {
		return pr.check(o, cfg, stdout, stderr)
	}

	logging := cfg.Logging
	if o.command != nil {
		logging.Output = "stderr"
	}
	log, closeLog, err := pr.openLog(&logging, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", pr.Name, err)
		return exitFailure
	}
	p := &Process{
		Config: cfg, ConfigPath: o.config, Log: log.With("daemon", pr.Name), Name: pr.Name, Version: version(), Args: o.args,
		Started: time.Now(), Stdout: stdout, Stderr: stderr,
	}
	exit, err := pr.start(p, o.command)
	p.adopt()
	if err != nil {
		p.Log.Error("ended with a failure", "error", err)
		// A user who started it by hand does not see a log in a file.
		if logging.Output != "stdout" && logging.Output != "stderr" {
			fmt.Fprintf(stderr, "%s: %v\n", pr.Name, err)
		}
	}
	if err := closeLog(); err != nil {
		fmt.Fprintf(stderr, "%s: close the log: %v\n", pr.Name, err)
	}
	return exit
}

// check says whether the daemon could start with the configuration, as far as
// can be told without starting it.
func (pr Program) check(o options, cfg config.Config, stdout, stderr io.Writer) int {
	path := cmp.Or(o.config, config.DefaultPath)
	faults := cfg.Advice()
	var unseen []string
	if pr.Check != nil {
		var more []string
		more, unseen = pr.Check(cfg)
		faults = append(faults, more...)
	}
	for _, text := range faults {
		fmt.Fprintf(stderr, "%s: %s\n", path, text)
	}
	for _, text := range unseen {
		fmt.Fprintf(stderr, "%s: not checked: %s\n", path, text)
	}
	if len(faults) > 0 {
		return exitUsage
	}
	if _, err := os.Stat(path); o.config == "" && err != nil {
		path += ": absent, the defaults"
	}
	fmt.Fprintf(stdout, "%s: ok\n", path)
	return exitClean
}

// openLog opens the log, on stderr where it cannot be opened: measuring goes
// before keeping a log. A file that one of the users cannot write, or a full
// disk, must not end the daemon at every start.
func (pr Program) openLog(c *config.Logging, stdout, stderr io.Writer) (log *slog.Logger, closeLog func() error, err error) {
	errStream := stderr
	if p, ok := stderr.(*patient); ok {
		errStream = p.w // the log has a queue of its own
	}
	log, closeLog, err = newLogger(*c, stdout, errStream)
	if err == nil || c.Output == "stderr" {
		return log, closeLog, err
	}
	fmt.Fprintf(stderr, "%s: warning: %v; the log goes to stderr\n", pr.Name, err)
	c.Output = "stderr"
	return newLogger(*c, stdout, errStream)
}

// start takes the lock and runs the daemon or the command until it is done or
// told to stop.
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
// was started from it, unless that was told to ignore it, as nohup(1) does.
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
		p.Log.Warn("the failure could not be left in the database for metrics-health", "error", err)
	}
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
