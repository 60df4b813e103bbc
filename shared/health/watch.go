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
	// observeEvery bounds how often the database is read: requests within it share one
	// report.
	observeEvery = time.Second
	// observeTimeout is how long a request waits for an observation. If the disk does not
	// answer, the report must still say so.
	observeTimeout = 3 * time.Second
)

// Host is how a Watch reads the machine.
type Host struct {
	// Now reads the clocks.
	Now func() Moment
	// Lock says who holds the lock of the named writer.
	Lock func(program string) (Lock, error)
	// ConfigFault says what is wrong with the configuration file now; "": nothing. The
	// function may be nil.
	ConfigFault func() string
	// Self says what this process uses; with an error, the part that is known.
	Self func() (ProcessUse, error)
}

// A Watch observes the database at a path. It opens the file when it appears, and again
// when another file takes its place.
type Watch struct {
	path       string
	thresholds Thresholds
	host       Host

	mu        sync.Mutex    // guards the next four
	observing chan struct{} // closed at the end of the present observation; nil: there is none
	last      Report
	lastAt    time.Time
	damper    damper

	file     sync.Mutex // guards the next three
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
		r := w.Current(ctx)
		if r.Status == was {
			return nil
		}
		level, why := slog.LevelInfo, ""
		if len(r.Reasons) > 0 {
			level, why = slog.LevelWarn, r.Reasons[0].Message
		}
		log.Log(ctx, level, "status changed",
			"status", string(r.Status), "was", string(was), "reasons", len(r.Reasons), "first_reason", why)
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

// Current returns a report that is at most observeEvery old. It always answers, after
// observeTimeout at the latest.
func (w *Watch) Current(ctx context.Context) Report {
	w.mu.Lock()
	if !w.lastAt.IsZero() && time.Since(w.lastAt) < observeEvery {
		defer w.mu.Unlock()
		return w.last
	}
	if w.observing == nil {
		done := make(chan struct{})
		w.observing = done
		go func() {
			defer close(done)
			// A request that is cancelled does not end it for the others.
			w.refresh(context.WithoutCancel(ctx))
		}()
	}
	done := w.observing
	w.mu.Unlock()

	patience := time.NewTimer(observeTimeout)
	defer patience.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-patience.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.observing == done { // it has not ended
		now := w.host.Now()
		return Evaluate(Observation{
			Fault:     DatabaseSilent,
			FaultText: fmt.Sprintf("%s has not answered for %s; the disk may be failing", w.path, observeTimeout),
		}, w.thresholds, now)
	}
	return w.last
}

// refresh observes once and keeps the report.
func (w *Watch) refresh(ctx context.Context) {
	seen := w.observe(ctx)
	now := w.host.Now()
	r := Evaluate(seen, w.thresholds, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.damper.settle(&r, now, seen.Fault != "")
	w.last, w.lastAt, w.observing = r, time.Now(), nil
}

// Once observes once and evaluates without memory of earlier reports.
func (w *Watch) Once(ctx context.Context) Report {
	return Evaluate(w.observe(ctx), w.thresholds, w.host.Now())
}

// observe reads everything that Evaluate needs.
func (w *Watch) observe(ctx context.Context) Observation {
	// A writer that starts or ends between the reading of its lock and of its row must
	// not look as if it had crashed: a lock that is free is read again afterwards.
	locks := map[string]Lock{}
	w.readLocks(locks, collector, shipper)
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
			w.readLocks(locks, program)
		}
	}
	if err := store.CheckFreeSpace(w.path); err != nil {
		seen.DiskFull = err.Error()
	}
	if w.host.ConfigFault != nil {
		seen.ConfigFault = w.host.ConfigFault()
	}
	return seen
}

func (w *Watch) readLocks(locks map[string]Lock, programs ...string) {
	for _, program := range programs {
		lock, err := w.host.Lock(program)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(locks, program) // only the heartbeat counts
			continue
		case err != nil:
			lock = Lock{Fault: err.Error()}
		}
		locks[program] = lock
	}
}

// faultOf says what an error of the database means.
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
