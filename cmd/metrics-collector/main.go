// Metrics-collector stores readings of this machine in the database and keeps the
// database usable.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/secretfile"
)

const name = "metrics-collector"

func main() {
	var v view
	var pr printer
	os.Exit(daemon.Main(daemon.Program{
		Name:    name,
		Summary: "stores readings of this machine in the database",
		Lock:    func(c config.Config) string { return c.LockPath(name) },
		Run:     run,
		Check:   func(c config.Config) (faults, unseen []string) { return secretfile.Check(c, secretfile.Here(), nil) },
		Failed:  failed,
		Flags:   func(fs *flag.FlagSet) { v.flags(fs); pr.flags(fs) },
		Commands: append([]daemon.Command{
			{Flag: "once", Help: "run every collector once, store what it returns and exit", Locked: true, Run: once},
			pr.command(),
		}, v.commands()...),
	}))
}

// run is the daemon: open, three loops, close.
func run(ctx context.Context, p *daemon.Process) (err error) {
	p.LoopLimits = map[string]time.Duration{"repair": 10 * time.Minute}
	c, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error { return p.LoopOn(loops, "repair", c.wakeRepair, c.repair) })
	g.Go(func() error { return p.LoopOn(loops, "upkeep", c.wakeUpkeep, c.upkeep.Step) })
	g.Go(func() error { return p.Loop(loops, "collect", c.collect) })
	p.Ready()
	return g.Wait()
}

// Repair and upkeep look for something to do in the first round and each third after it,
// and when the WAL has grown by much: during a drain it grows by some MB a second.
const (
	stepEvery = 3
	stepAfter = 4 << 20 // bytes
)

// collect is one round. Repair and upkeep run in the wake-up of a round, and by themselves
// only while they have something to do. Whether the files are in their place is checked
// by each round.
func (c *collector) collect(ctx context.Context) (next time.Duration, err error) {
	if c.db.Fault() != nil {
		c.askRepair() // the round waits for it
	}
	next, err = c.sampler.Round(ctx)
	c.rounds++
	wal := c.db.WALBytes()
	look := c.rounds%stepEvery == 1 || wal-c.walLooked >= stepAfter
	if look || err != nil {
		c.askRepair()
	}
	if look {
		c.walLooked = wal
		wake(c.wakeUpkeep)
	}
	return next, err
}

// askRepair wakes the loop "repair", unless it waits for its next try.
func (c *collector) askRepair() {
	if time.Now().UnixMilli() >= c.retryMs.Load() {
		wake(c.wakeRepair)
	}
}

// repair is one step of the repair. If the database belongs to another program, the daemon
// ends.
func (c *collector) repair(ctx context.Context) (next time.Duration, err error) {
	next, err = c.owner.Step(ctx)
	c.retryMs.Store(0)
	if err != nil {
		c.retryMs.Store(time.Now().Add(next).UnixMilli())
	}
	if repair.Refused(err) {
		err = daemon.Fatal(err)
	}
	return next, err
}

// close records the end of the session, empties the WAL and closes the database, also if
// ctx has ended.
func (c *collector) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	var err error
	if c.db.Fault() != nil { // samples that wait in memory are lost otherwise
		_, err = c.owner.Step(ctx)
	}
	err = errors.Join(err, c.sampler.Stop(ctx), c.upkeep.Stop(ctx))
	c.owner.Stop()
	return errors.Join(err, c.db.Close())
}
