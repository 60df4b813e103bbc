package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/health"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
)

// logReach says where the status page is, and who can see it.
func logReach(p *daemon.Process, l net.Listener) {
	p.Log.Info("listening", "address", l.Addr().String())
	switch health.ReachOf(l.Addr()) {
	case health.ReachAll:
		p.Log.Warn("the status page can be read from every network; it has no password", "address", l.Addr().String())
	case health.ReachSome:
		p.Log.Warn("the status page can be read from the network of its address; it has no password", "address",
			l.Addr().String())
	}
}

// A display is how a report is printed.
type display struct{ json, quiet bool }

// print prints the status. For a user who may not read the database it prints that
// instead, because the status would be wrong.
func print(ctx context.Context, p *daemon.Process, show display) (exit int, err error) {
	watch := watchOf(p)
	defer func() { err = errors.Join(err, watch.Close()) }()
	r := watch.Once(ctx)
	r.Version, r.DeviceID = p.Version, p.Config.Device.ID
	switch {
	case show.json:
		_, err = p.Stdout.Write(r.JSON())
	case denied(p.Config, r):
		// For people, so not in the format of the log.
		_, err = fmt.Fprintln(p.Stderr, deniedText(p.Config))
	case show.quiet:
		err = health.Line(p.Stdout, r)
	default:
		err = health.Text(p.Stdout, r, health.Colour(p.Stdout))
	}
	return r.Status.ExitCode(), err
}

// watchOf observes the database and the locks of the configuration.
func watchOf(p *daemon.Process) *health.Watch {
	// Without a boot id, ages are taken from the wall clock.
	bootID, err := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}.BootID()
	if err != nil {
		p.Log.Warn("the boot id cannot be read; ages are measured with the wall clock", "error", err)
	}
	return health.NewWatch(p.Config, health.Host{
		Now: func() health.Moment {
			var err error
			now := health.Moment{Moment: status.Moment{Wall: time.Now()}, BootID: bootID}
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
		Self: func() (health.ProcessUse, error) {
			use, err := hostfs.Self()
			return health.ProcessUse(use), err
		},
	})
}
