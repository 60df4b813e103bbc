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
	"github.com/taniwha3/thugshells/shared/sampling"
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
		Flags:   v.flags,
		Commands: append([]daemon.Command{
			{Flag: "once", Help: "run every collector once, store what it returns and exit", Locked: true, Run: once},
		}, v.commands()...),
	}))
}

func run(ctx context.Context, p *daemon.Process) (err error) {
	c, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error { return p.Loop(loops, "collect", c.round) })
	g.Go(func() error { return p.Loop(loops, "upkeep", c.upkeep) })
	p.Ready()
	return g.Wait()
}

func once(ctx context.Context, p *daemon.Process) (exit int, err error) {
	c, err := open(ctx, p)
	if err != nil {
		return 1, err
	}
	if err := c.db.Mend(ctx); err != nil {
		return 1, errors.Join(err, c.db.Close())
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
	rounds *sampling.Rounds
	keeper *upkeep.Keeper
}

// open prepares the collectors and the database, which the first round opens:
// one that cannot be opened yet, or has to be repaired, does not keep samples
// from being collected.
func open(ctx context.Context, p *daemon.Process) (*collector, error) {
	roots := hostfs.Roots{Proc: p.Config.Host.Procfs, Sys: p.Config.Host.Sysfs}
	all, err := collect.All(p.Config, roots, p.Version)
	if err != nil {
		return nil, err
	}
	db := store.New(p.Config.Storage.Path, store.Options{
		Device: p.Config.Device.ID, Synchronous: p.Config.Storage.Synchronous, Owner: true, Log: p.Log,
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
	return &collector{
		db:     db,
		keeper: upkeep.New(db, p.Config, d, p.Log),
		rounds: sampling.New(db, all, d, p.Config.Time.Untrusted, p.Log.With("session_id", session.ID)),
	}, nil
}

// round is one round. A database that belongs to somebody else ends the program.
func (c *collector) round(ctx context.Context) (time.Duration, error) {
	next, err := c.rounds.Round(ctx)
	if store.Refused(err) {
		err = daemon.Fatal(err)
	}
	return next, err
}

// upkeep is one step of it. A database that is not open, or about to be opened
// again, is the matter of the rounds.
func (c *collector) upkeep(ctx context.Context) (time.Duration, error) {
	if c.db.Fault() != nil {
		return time.Second, nil
	}
	return c.keeper.Step(ctx)
}

// close writes the end of the session, empties the write-ahead log and closes
// the database, also when ctx has ended.
func (c *collector) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	var err error
	if c.db.Fault() != nil { // what waits in memory goes with us
		err = c.db.Mend(ctx)
	}
	return errors.Join(err, c.rounds.Stop(ctx), c.keeper.Stop(ctx), c.db.Close())
}
