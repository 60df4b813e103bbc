package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/ship"
	"github.com/taniwha3/thugshells/shared/store"
)

// mustExist fails if there is no database. It is for commands that make no sense on a new
// one, because opening would create it.
func mustExist(p *daemon.Process) error {
	path := p.Config.Storage.Path
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no database at %s; the collector makes it", path)
	}
	if err != nil {
		return fmt.Errorf("find the database: %w", err)
	}
	return nil
}

func once(ctx context.Context, p *daemon.Process) (exit int, err error) {
	db, s, err := begin(ctx, p)
	if err != nil {
		return 1, err
	}
	delivered, err := s.Drain(ctx)
	fmt.Fprintf(p.Stdout, "delivered %d samples\n", delivered)
	return 0, errors.Join(err, s.Stop(context.WithoutCancel(ctx)), db.Close())
}

// rejected prints a line for each rejected sample, the first one first.
func rejected(ctx context.Context, p *daemon.Process) (exit int, err error) {
	if err := mustExist(p); err != nil {
		return 1, err
	}
	r, err := store.OpenReader(ctx, p.Config.Storage.Path, store.ReadOptions{})
	if err != nil {
		return 1, err
	}
	count := 0
	out := metric.NewCleanWriter(p.Stdout)
	err = r.Rejections(ctx, func(one store.Rejection) error {
		count++
		_, err := fmt.Fprintf(out, "%s %s%s %v rejected %s, HTTP %d, %s: %q\n",
			time.UnixMilli(one.TimeMs).UTC().Format(time.RFC3339Nano),
			one.Series.Name, one.Series.Tags, one.Value, one.At.UTC().Format(time.RFC3339), one.HTTPStatus, one.Reason, one.Words)
		return err
	})
	fmt.Fprintf(p.Stdout, "%d samples are rejected\n", count)
	return 0, errors.Join(err, r.Close())
}

func requeue(ctx context.Context, p *daemon.Process) (exit int, err error) {
	if err := mustExist(p); err != nil {
		return 1, err
	}
	db, err := repair.Open(ctx, p.Config.Storage.Path, store.Options{Device: p.Config.Device.ID, Synchronous: "NORMAL"}, p.Log)
	if err != nil {
		return 1, err
	}
	count, err := db.Requeue(ctx)
	fmt.Fprintf(p.Stdout, "%d samples are pending again\n", count)
	return 0, errors.Join(err, db.Close())
}

type verification struct {
	since  time.Duration
	repair bool
}

func (v *verification) run(ctx context.Context, p *daemon.Process) (exit int, err error) {
	if err := mustExist(p); err != nil {
		return 1, err
	}
	db, s, err := begin(ctx, p)
	if err != nil {
		return 1, err
	}
	found, err := s.Verify(ctx, v.since, v.repair, ship.VisibleAfter)
	if err = errors.Join(err, db.Close()); err != nil {
		return 1, err
	}
	fmt.Fprintln(p.Stdout, found)
	if !found.Good() {
		return 1, nil
	}
	return 0, nil
}
