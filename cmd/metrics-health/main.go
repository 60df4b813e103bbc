// Metrics-health answers over HTTP whether the pipeline is well, and shows why
// not. It only reads the database.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/health"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/secretfile"
	"github.com/taniwha3/thugshells/shared/status"
)

// judgeEvery is how often the status is looked at while nobody asks.
const judgeEvery = 30 * time.Second

func main() {
	var show display
	os.Exit(daemon.Main(daemon.Program{
		Name:    "metrics-health",
		Summary: "answers over HTTP whether the pipeline is well",
		Run:     run,
		Check:   func(c config.Config) (faults, unseen []string) { return secretfile.Check(c, secretfile.Here()) },
		Commands: []daemon.Command{
			{Flag: "once", Help: "print the status as JSON; exit 0 for ok, 1 for degraded, 2 for error", Run: func(ctx context.Context, p *daemon.Process) (int, error) {
				return print(ctx, p, display{json: true})
			}},
			{Flag: "status", Help: "print the status for people, straight from the database; exits as -once", Run: func(ctx context.Context, p *daemon.Process) (int, error) {
				return print(ctx, p, show)
			}},
		},
		Flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&show.json, "json", false, "with -status: print JSON")
			fs.BoolVar(&show.quiet, "q", false, "with -status: print one line, for a prompt")
		},
	}))
}

func run(ctx context.Context, p *daemon.Process) (err error) {
	if !p.Config.Health.Enabled {
		p.Log.Info("health.enabled is false, nothing to do")
		p.Ready()
		<-ctx.Done()
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.Config.Health.Addr())
	if err != nil {
		return err
	}
	watch := watchOf(p)
	defer func() { err = errors.Join(err, watch.Close()) }()
	server := health.NewServer(watch, p.Config, p.Version, p.Started, p.Log)
	p.Log.Info("listening", "address", l.Addr().String())
	switch health.ReachOf(l.Addr()) {
	case health.ReachAll:
		p.Log.Warn("the status page is open to every network; it has no password", "address", l.Addr().String())
	case health.ReachSome:
		p.Log.Warn("the status page is open to the network of its address; it has no password", "address", l.Addr().String())
	}

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(loops, l) })
	g.Go(func() error { return p.Every(loops, "judge", judgeEvery, watch.Judge(p.Log)) })
	p.Ready()
	return g.Wait()
}

// A display is how a report is printed.
type display struct{ json, quiet bool }

// print prints the status. A user without the rights to see the database is told
// so: what would be printed otherwise is not the status of anything.
func print(ctx context.Context, p *daemon.Process, show display) (exit int, err error) {
	watch := watchOf(p)
	defer func() { err = errors.Join(err, watch.Close()) }()
	r := watch.Once(ctx)
	r.Version, r.DeviceID = p.Version, p.Config.Device.ID
	switch {
	case show.json:
		_, err = p.Stdout.Write(r.JSON())
	case denied(p.Config, r):
		return r.Status.ExitCode(), fmt.Errorf("the database %s cannot be read by user %d; run as root or as a member of group metrics", p.Config.Storage.Path, os.Geteuid())
	case show.quiet:
		err = health.Line(p.Stdout, r)
	default:
		err = health.Text(p.Stdout, r, health.Colour(p.Stdout))
	}
	return r.Status.ExitCode(), err
}

func watchOf(p *daemon.Process) *health.Watch {
	// Without a boot id, ages are taken from the wall clock.
	bootID, err := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}.BootID()
	if err != nil {
		p.Log.Warn("the boot id cannot be read, ages are taken from the wall clock", "error", err)
	}
	return health.NewWatch(p.Config, health.Host{
		Now: func() health.Now {
			var err error
			now := health.Now{Moment: status.Moment{Wall: time.Now()}, BootID: bootID}
			if now.Boot, err = hostfs.BootTime(); err != nil {
				now.BootID = ""
			}
			return now
		},
		Lock: func(program string) (health.Lock, error) {
			s, err := daemon.ReadLock(p.Config.LockPath(program))
			lock := health.Lock{Held: s.Held, PID: s.PID, Written: s.Written, Since: s.Since}
			if lock.PID == 0 {
				lock.PID = s.Written
			}
			return lock, err
		},
		ConfigFault: configFault(p.ConfigPath),
		Self: func() (health.Use, error) {
			use, err := hostfs.Self()
			return health.Use(use), err
		},
	})
}
