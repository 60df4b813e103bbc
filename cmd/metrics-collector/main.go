// Metrics-collector samples the machine into the database and keeps the
// database's write-ahead log small.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/sampling"
	"github.com/taniwha3/thugshells/shared/secretfile"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/upkeep"
)

const name = "metrics-collector"

func main() {
	var v view
	os.Exit(daemon.Main(daemon.Program{
		Name:    name,
		Summary: "samples the machine into the database",
		Lock:    func(c config.Config) string { return filepath.Join(filepath.Dir(c.Storage.Path), name+".lock") },
		Run:     run,
		Check:   func(c config.Config) (faults, unseen []string) { return secretfile.Check(c, secretfile.Here()) },
		Failed:  failed,
		Flags:   v.flags,
		Commands: append([]daemon.Command{
			{Flag: "once", Help: "run every collector once, store what it returns and exit", Locked: true, Run: once},
		}, v.commands()...),
	}))
}

// failed leaves word of a failure that ends the daemon for metrics-health.
func failed(ctx context.Context, p *daemon.Process, failure error) error {
	now := status.Moment{Wall: time.Now()}
	var err error
	if now.Boot, err = hostfs.BootTime(); err != nil {
		return err
	}
	boot := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}.Identity()["boot_id"]
	d := status.Daemon{Name: p.Name, Version: p.Version, BootID: boot, Started: p.Started}
	return store.RecordEnd(ctx, p.Config.Storage.Path, status.NewComponent(d, status.CollectorRow, time.Minute), now, failure)
}

func run(ctx context.Context, p *daemon.Process) (err error) {
	p.LoopLimits = map[string]time.Duration{"repair": 10 * time.Minute}
	c, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()

	g, loops := errgroup.WithContext(ctx)
	// Repair and upkeep look after the database in the wake-up of a round, and by
	// themselves only while they have something to do.
	repair, upkeep := make(chan struct{}, 1), make(chan struct{}, 1)
	g.Go(func() error { return p.LoopOn(loops, "repair", repair, c.repair) })
	g.Go(func() error { return p.LoopOn(loops, "upkeep", upkeep, c.keeper.Step) })
	g.Go(func() error {
		return p.Loop(loops, "collect", func(ctx context.Context) (time.Duration, error) {
			next, err := c.rounds.Round(ctx)
			wake(repair)
			wake(upkeep)
			return next, err
		})
	})
	p.Ready()
	return g.Wait()
}

// wake makes a loop run, once more if it runs already.
func wake(loop chan<- struct{}) {
	select {
	case loop <- struct{}{}:
	default:
	}
}

func once(ctx context.Context, p *daemon.Process) (exit int, err error) {
	c, err := open(ctx, p)
	if err != nil {
		return 1, err
	}
	for c.db.Fault() != nil {
		if _, err := c.owner.Step(ctx); err != nil {
			return 1, errors.Join(err, c.db.Close())
		}
	}
	stored, err := c.rounds.Once(ctx)
	fmt.Fprintf(p.Stdout, "stored %d samples in %s\n", stored, p.Config.Storage.Path)
	if err := errors.Join(err, c.close(ctx)); err != nil {
		return 1, err
	}
	return 0, nil
}

// A collector is what both modes run.
type collector struct {
	db     *store.DB
	owner  *repair.Owner
	rounds *sampling.Rounds
	keeper *upkeep.Keeper
}

// open prepares the collectors and the database, which the loop "repair" opens:
// one that cannot be opened yet, or has to be repaired, does not keep samples
// from being collected.
func open(ctx context.Context, p *daemon.Process) (*collector, error) {
	roots := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}
	all, err := collect.All(p.Config, roots, p.Version)
	if err != nil {
		return nil, err
	}
	db := store.New(p.Config.Storage.Path, store.Options{
		Owner:  true,
		Device: p.Config.Device.ID, Synchronous: p.Config.Storage.Synchronous,
	})
	session := store.Session{ID: uuid.NewString(), Start: p.Started, Metadata: roots.Identity()}
	session.Metadata["version"] = p.Version
	session.Metadata["started_by"] = "user " + strconv.Itoa(os.Getuid())
	if os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
		session.Metadata["started_by"] = "systemd"
	}
	if session.Metadata["boot_id"] == "" { // then no other session is of the same boot
		session.Metadata["boot_id"] = session.ID
	}
	d := status.Daemon{Name: name, Version: p.Version, BootID: session.Metadata["boot_id"], Started: p.Started}
	if err := db.StartSession(ctx, session); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	p.Log.Info("session started", "session_id", session.ID, "database", db.Path(), "collectors", len(all))
	owner, keeper := repair.New(db, p.Log), upkeep.New(db, p.Config, d, p.Log)
	keeper.TrimKept = owner.TrimKept
	return &collector{
		db:     db,
		owner:  owner,
		keeper: keeper,
		rounds: sampling.New(db, all, d, p.Config.Time.Untrusted, p.Log.With("session_id", session.ID)),
	}, nil
}

// repair is one step of it. A database that belongs to another program ends this
// one.
func (c *collector) repair(ctx context.Context) (time.Duration, error) {
	next, err := c.owner.Step(ctx)
	if repair.Refused(err) {
		err = daemon.Fatal(err)
	}
	return next, err
}

// close writes the end of the session, empties the write-ahead log and closes
// the database, also when ctx has ended.
func (c *collector) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	var err error
	if c.db.Fault() != nil { // what waits in memory goes with us
		_, err = c.owner.Step(ctx)
	}
	return errors.Join(err, c.rounds.Stop(ctx), c.keeper.Stop(ctx), c.db.Close())
}
