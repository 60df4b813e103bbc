package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// lookEvery bounds how often the database is asked: askers within it share
	// one answer.
	lookEvery = time.Second
	// lookPatience is how long an asker waits for a look. A disk that does not
	// answer must not keep us from saying so.
	lookPatience = 3 * time.Second
)

// Host is what a Watch is told of the machine.
type Host struct {
	// Now reads the clocks.
	Now func() Moment
	// Lock says who holds the lock of the named writer.
	Lock func(program string) (Lock, error)
	// ConfigFault says what is wrong with the configuration file now; "": nothing.
	// It may be nil.
	ConfigFault func() string
	// Self says what this process uses. With an error, what is known.
	Self func() (ProcessUse, error)
}

// A Watch looks at the database at a path, whatever becomes of it: it opens the
// file when it appears and opens it afresh when another takes its place.
type Watch struct {
	path       string
	thresholds Thresholds
	host       Host

	mu      sync.Mutex // guards what follows
	looking chan struct{}
	last    Report
	lastAt  time.Time
	damper  damper

	file     sync.Mutex // guards what follows
	reader   *store.Reader
	opened   os.FileInfo
	borrowed map[*store.Reader]int
}

// NewWatch returns a Watch over the configured database. Nothing is opened yet.
func NewWatch(c config.Config, host Host) *Watch {
	return &Watch{
		path: c.Storage.Path, thresholds: ThresholdsOf(c), host: host,
		damper:   damper{base: c.Remote.UploadInterval},
		borrowed: map[*store.Reader]int{},
	}
}

// Judge returns the step of a loop that logs the status when it changes.
func (w *Watch) Judge(log *slog.Logger) func(context.Context) error {
	var was Status
	return func(ctx context.Context) error {
		r := w.Look(ctx)
		if r.Status == was {
			return nil
		}
		level, why := slog.LevelInfo, ""
		if len(r.Reasons) > 0 {
			level, why = slog.LevelWarn, r.Reasons[0].Message
		}
		log.Log(ctx, level, "status changed", "status", string(r.Status), "was", string(was), "reasons", len(r.Reasons), "first_reason", why)
		was = r.Status
		return nil
	}
}

// Close closes the database.
func (w *Watch) Close() error {
	w.file.Lock()
	defer w.file.Unlock()
	return w.drop()
}

// Look returns the present judgement, at most lookEvery old. It always answers,
// after lookPatience at the latest.
func (w *Watch) Look(ctx context.Context) Report {
	w.mu.Lock()
	if !w.lastAt.IsZero() && time.Since(w.lastAt) < lookEvery {
		defer w.mu.Unlock()
		return w.last
	}
	if w.looking == nil {
		done := make(chan struct{})
		w.looking = done
		go func() {
			defer close(done)
			// An asker that gives up does not spoil it for the others.
			w.refresh(context.WithoutCancel(ctx))
		}()
	}
	done := w.looking
	w.mu.Unlock()

	patience := time.NewTimer(lookPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-patience.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looking == done { // still at it
		now := w.host.Now()
		return Evaluate(Observation{Fault: DatabaseSilent, FaultText: fmt.Sprintf("%s has not answered for %s; the disk may be failing", w.path, lookPatience)}, w.thresholds, now)
	}
	return w.last
}

// refresh observes once and keeps the judgement.
func (w *Watch) refresh(ctx context.Context) {
	seen := w.observe(ctx)
	now := w.host.Now()
	r := Evaluate(seen, w.thresholds, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.damper.settle(&r, now, seen.Fault != "")
	w.last, w.lastAt, w.looking = r, time.Now(), nil
}

// Once takes one look without memory of earlier ones.
func (w *Watch) Once(ctx context.Context) Report {
	return Evaluate(w.observe(ctx), w.thresholds, w.host.Now())
}

// observe reads all there is to judge.
func (w *Watch) observe(ctx context.Context) Observation {
	// A writer that starts or ends between the reading of its lock and of its
	// row must not look as if it had crashed: ask for free locks on both sides.
	locks := map[string]Lock{}
	w.ask(locks, collector, shipper)
	seen := Observation{Locks: locks}
	err := w.Read(func(r *store.Reader) error {
		var err error
		if seen.Snapshot, err = r.Snapshot(ctx); err != nil {
			return err
		}
		seen.RejectedMs, err = r.LastRejectedMs(ctx)
		return err
	})
	if err != nil {
		seen.Fault, seen.FaultText = faultOf(err, w.path)
	}
	for _, program := range []string{collector, shipper} {
		if lock, asked := locks[program]; asked && !lock.Held {
			w.ask(locks, program)
		}
	}
	if w.host.ConfigFault != nil {
		seen.ConfigFault = w.host.ConfigFault()
	}
	return seen
}

func (w *Watch) ask(locks map[string]Lock, programs ...string) {
	for _, program := range programs {
		lock, err := w.host.Lock(program)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(locks, program) // the heartbeat alone has to do
			continue
		case err != nil:
			lock = Lock{Fault: err.Error()}
		}
		locks[program] = lock
	}
}

// faultOf says what an error of the database means, to people.
func faultOf(err error, path string) (Code, string) {
	switch store.FaultOf(err) {
	case store.FaultMissing:
		return DatabaseMissing, fmt.Sprintf("there is no database at %s: no writer has run yet, or it was deleted", path)
	case store.FaultEmpty:
		return DatabaseEmpty, fmt.Sprintf("the database at %s is empty: no writer has run yet", path)
	case store.FaultDenied:
		return DatabaseDenied, fmt.Sprintf("%s or its WAL cannot be opened: %v", path, err)
	case store.FaultDamaged:
		return DatabaseDamaged, fmt.Sprintf("%s is damaged or is not an SQLite file: %v", path, err)
	case store.FaultLocked:
		return DatabaseLocked, fmt.Sprintf("another program keeps %s locked: %v", path, err)
	case store.FaultOlder:
		return DatabaseOlder, err.Error()
	case store.FaultNewer:
		return DatabaseNewer, err.Error()
	case store.FaultForeign:
		return DatabaseForeign, err.Error()
	}
	return DatabaseUnreadable, err.Error()
}
