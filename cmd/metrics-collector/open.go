package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/sampling"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/upkeep"
)

// A collector is what the daemon and -once run.
type collector struct {
	db      *store.DB
	owner   *repair.Owner     // opens and repairs the database
	sampler *sampling.Sampler // stores samples in it
	upkeep  *upkeep.Keeper    // checkpoints and deletes

	rounds                 int
	walLooked              int64 // bytes of the WAL when repair and upkeep were woken last
	wakeRepair, wakeUpkeep chan struct{}
	retryMs                atomic.Int64 // Unix time of the next try of a repair that failed, 0: it did not
}

// wake makes a loop run, once more if it runs already.
func wake(loop chan<- struct{}) {
	select {
	case loop <- struct{}{}:
	default:
	}
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
	session := sessionOf(p, roots)
	d := p.Identity()
	d.BootID = session.Metadata["boot_id"]
	if err := db.StartSession(ctx, session); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	p.Log.Info("session started", "session_id", session.ID, "database", db.Path(), "collectors", len(all))
	owner, keeper := repair.New(db, p.Log), upkeep.New(db, p.Config, d, p.Log)
	keeper.TrimKept = owner.TrimKept
	return &collector{
		db: db, owner: owner, upkeep: keeper,
		wakeRepair: make(chan struct{}, 1), wakeUpkeep: make(chan struct{}, 1),
		sampler: sampling.New(db, all, d, p.Config.Time.Untrusted, p.Log.With("session_id", session.ID)),
	}, nil
}

// sessionOf describes this run of the collector.
func sessionOf(p *daemon.Process, roots hostfs.Roots) store.Session {
	s := store.Session{ID: uuid.NewString(), Start: p.Started, Metadata: roots.Identity()}
	s.Metadata["version"] = p.Version
	s.Metadata["started_by"] = "user " + strconv.Itoa(os.Getuid())
	if os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
		s.Metadata["started_by"] = "systemd"
	}
	if s.Metadata["boot_id"] == "" { // then no other session is of the same boot
		s.Metadata["boot_id"] = s.ID
	}
	return s
}

// failed records a failure that ends the daemon, for metrics-health.
func failed(ctx context.Context, p *daemon.Process, failure error) error {
	return store.RecordEnd(ctx, p.Config.Storage.Path,
		status.NewComponent(p.Identity(), status.CollectorRow, time.Minute), failure)
}

// once runs every collector once.
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
	stored, err := c.sampler.Once(ctx)
	fmt.Fprintf(p.Stdout, "stored %d samples in %s\n", stored, p.Config.Storage.Path)
	if err := errors.Join(err, c.close(ctx)); err != nil {
		return 1, err
	}
	return 0, nil
}
