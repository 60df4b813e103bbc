// Package daemon is the process shell of the programs: flags, configuration,
// log, lock, signals, loops and the notifications to systemd. Databases, HTTP and
// samples are in other packages.
//
// A main is a Program and one line: os.Exit(daemon.Main(program)). Its Run opens
// what it needs, calls Process.Ready and runs its work in Process.Loop and
// Process.Every, each in a goroutine of an errgroup.
//
// Panics are not recovered: one ends the process with its stack in the journal,
// systemd starts it again, and the other daemons are not affected.
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
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/version"
)

// Exit statuses of Main.
const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2 // bad usage or configuration
)

// stopLimit is how long Run may take to return after the signal to stop. With
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
	logErr := stderr // the log cleans what it writes, and has a queue of its own
	stderr = metric.NewCleanWriter(&patient{w: stderr})
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
		io.WriteString(stdout, version.Text(pr.Name)) //nolint:errcheck // nobody to tell
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
	log, closeLog, err := pr.openLog(&logging, stdout, logErr, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", pr.Name, err)
		return exitFailure
	}
	p := &Process{
		Config: cfg, ConfigPath: o.config, Log: log.With("daemon", pr.Name), Name: pr.Name, Version: version.Of(), Args: o.args,
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
func (pr Program) openLog(c *config.Logging, stdout, logErr, stderr io.Writer) (log *slog.Logger, closeLog func() error, err error) {
	log, closeLog, err = newLogger(*c, stdout, logErr)
	if err == nil || c.Output == "stderr" {
		return log, closeLog, err
	}
	fmt.Fprintf(stderr, "%s: warning: %v; the log goes to stderr\n", pr.Name, err)
	c.Output = "stderr"
	return newLogger(*c, stdout, logErr)
}
