// Metrics-shipper sends stored samples to VictoriaMetrics and marks what was
// taken.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/ship"
	"github.com/taniwha3/thugshells/shared/store"
)

const name = "metrics-shipper"

func main() {
	os.Exit(daemon.Main(daemon.Program{
		Name:    name,
		Summary: "sends stored samples to the server",
		Lock:    func(c config.Config) string { return c.LockPath(name) },
		Run:     run,
		Commands: []daemon.Command{
			{Flag: "once", Help: "send everything that is pending and exit; 1 if something could not be sent", Locked: true, Run: once},
		},
	}))
}

func run(ctx context.Context, p *daemon.Process) (err error) {
	// A request may last as long as its timeout, and then counts as a beat.
	p.LoopLimits = map[string]time.Duration{
		"upload": 2*time.Minute + p.Config.Remote.Timeout, "skew": 2*time.Minute + 2*p.Config.Remote.Timeout,
	}
	db, s, err := begin(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Loop(loops, "upload", s.Round) })
	g.Go(func() error { return p.Every(loops, "skew", p.Config.Monitoring.ClockSkewCheckInterval, s.CheckSkew) })
	p.Ready()
	err = g.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, s.Stop(last))
}

func once(ctx context.Context, p *daemon.Process) (exit int, err error) {
	db, s, err := begin(ctx, p)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	delivered, err := s.Drain(ctx)
	fmt.Fprintf(p.Stdout, "delivered %d samples\n", delivered)
	return 0, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
}

// begin opens the database. A mark that a power cut undoes is a sample sent
// twice, which the server drops: the shipper commits without waiting for the disk.
func begin(ctx context.Context, p *daemon.Process) (*store.DB, *ship.Shipper, error) {
	boot := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}.Identity()["boot_id"]
	db, err := store.Open(ctx, p.Config.Storage.Path, store.Options{Device: p.Config.Device.ID, Synchronous: "NORMAL"})
	if err != nil {
		return nil, nil, err
	}
	d := store.Daemon{Name: p.Name, Version: p.Version, BootID: boot, Started: p.Started}
	s, err := ship.New(ctx, db, p.Config, d, p.Log, func() { p.Beat("upload") })
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, s, nil
}
