// Metrics-shipper sends stored samples to VictoriaMetrics and marks those that it
// accepted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/certfile"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/secretfile"
	"github.com/taniwha3/thugshells/shared/ship"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const name = "metrics-shipper"

func main() {
	var v verification
	os.Exit(daemon.Main(daemon.Program{
		Name:    name,
		Summary: "sends stored samples to the server",
		Lock:    func(c config.Config) string { return c.LockPath(name) },
		Run:     run,
		Check: func(c config.Config) (faults, unseen []string) {
			return secretfile.Check(c, secretfile.Here(), certfile.Load)
		},
		Failed: failed,
		Commands: []daemon.Command{
			{
				Flag: "once", Help: "send everything that is pending and exit; 1 if something could not be sent",
				Locked: true, Run: once,
			},
			{Flag: "rejected", Help: "list the samples that were rejected, with the reasons", Run: rejected},
			{Flag: "requeue", Help: "make the samples that were rejected pending again", Run: requeue},
			{Flag: "verify", Help: "compare the delivered samples with the server's; 1 if any is missing, doubled or changed", Run: v.run},
		},
		Flags: func(fs *flag.FlagSet) {
			fs.DurationVar(&v.since, "since", time.Hour, "with -verify: how far back")
			fs.BoolVar(&v.repair, "repair", false, "with -verify: send the missing samples again")
		},
	}))
}

// run is the daemon: open, two loops, close.
func run(ctx context.Context, p *daemon.Process) (err error) {
	// A run may last as long as its requests, in addition to the limit of every loop.
	timeout := p.Config.Remote.Timeout
	p.LoopLimits = map[string]time.Duration{"upload": 2*time.Minute + timeout, "skew": 2*time.Minute + 2*timeout}
	db, s, err := begin(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(ctx, p, db, s)) }()

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error {
		return p.Loop(loops, "upload", func(ctx context.Context) (time.Duration, error) { return round(ctx, p, db, s) })
	})
	g.Go(func() error { return p.Loop(loops, "skew", s.CheckSkew) })
	p.Ready()
	return g.Wait()
}

// closeAll records that the shipper stopped, in the database that is at the path now, and
// closes it.
func closeAll(ctx context.Context, p *daemon.Process, db *store.DB, s *ship.Shipper) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(repair.Reopen(last, db, p.Log), s.Stop(last), db.Close())
}

// round is one round, on the database that is at the path now. The collector
// repairs it; the shipper opens it again, and asks for a repair if it met damage.
func round(ctx context.Context, p *daemon.Process, db *store.DB, s *ship.Shipper) (time.Duration, error) {
	if err := repair.Reopen(ctx, db, p.Log); err != nil {
		return p.Config.Remote.UploadInterval, fmt.Errorf("open the database again: %w", err)
	}
	next, err := s.Round(ctx)
	if err != nil {
		err = errors.Join(err, db.RequestRepair(ctx, p.Name, err))
	}
	return next, err
}

// begin opens the database. If a power cut undoes a mark, the sample is sent twice and the
// server drops one of them, so the shipper commits without waiting for the disk.
func begin(ctx context.Context, p *daemon.Process) (*store.DB, *ship.Shipper, error) {
	db, err := repair.Open(ctx, p.Config.Storage.Path, store.Options{Device: p.Config.Device.ID, Synchronous: "NORMAL"}, p.Log)
	if err != nil {
		return nil, nil, err
	}
	s, err := ship.New(ctx, db, p.Config, p.Identity(), p.Log, func() { p.Beat("upload") })
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, s, nil
}

// failed records a failure that ends the daemon, for metrics-health.
func failed(ctx context.Context, p *daemon.Process, failure error) error {
	return store.RecordEnd(ctx, p.Config.Storage.Path,
		status.NewComponent(p.Identity(), status.ShipperRow, p.Config.Remote.UploadInterval), failure)
}
