// Package sampling decides when the collectors run, and stores the samples that they
// return: all collectors that are due together share one reading of the clock and one
// transaction.
//
// The one rule here: one fault does not stop the rest. A collector that does not answer
// is left out of the round; while the database cannot be written, samples wait in
// memory; while the clock is not trusted, samples are held instead of stored with
// wrong times. Start at Sampler.Round.
package sampling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/selfmetrics"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// idle is the longest time between two rounds, and between two heartbeats, also if no
// collector is due.
const idle = time.Minute

// storeRetry is how soon a round follows one that could not be stored.
const storeRetry = 5 * time.Second

// A Sampler runs the collectors when they are due and stores the samples that they
// return. It is owned by one goroutine.
type Sampler struct {
	db     *store.DB
	log    *slog.Logger
	all    []*scheduled
	daemon string
	loop   *status.Component // the daemon as a whole
	self   selfmetrics.Reporter
	queue  queue
	clock  clock
	begun  time.Time

	opened        int64     // the store.DB.Opening of the file that was written last
	restored      bool      // the state of the last run was read from the database
	countersDirty bool      // self-metrics were reported from counters that are not stored yet
	queued        bool      // the queue has samples of an earlier round
	beaten        time.Time // when the last heartbeat was stored
}

// New prepares the rounds of the given collectors. Untrusted says what to do with
// samples while nothing confirms the clock: "hold" or "ship". The database need not be
// open yet.
func New(db *store.DB, all []collect.Scheduled, d status.Daemon, untrusted string, log *slog.Logger) *Sampler {
	now := time.Now()
	r := &Sampler{
		db: db, log: log, daemon: d.Name, clock: newClock(d.BootID, untrusted == "ship", log), begun: now,
		self: newReporter(d.Name, now),
	}
	shortest := idle
	for _, s := range all {
		shortest = min(shortest, s.Interval)
		a := &scheduled{Scheduled: s, component: status.NewComponent(d, status.ReadingRow(s.Name), s.Interval), due: now}
		if resumer, ok := s.Collector.(collect.Resumer); ok {
			a.resumer, a.noData = resumer, true
		}
		r.all = append(r.all, a)
		if !s.Optional {
			r.count(s.Name, 0, 0)
		}
	}
	r.loop = status.NewComponent(d, status.CollectorRow, shortest)
	return r
}

// Round runs the collectors that are due, stores their samples and returns how long to
// wait until the next round. It fails if nothing can be stored; the errors of a
// collector are in its status and its counters.
func (r *Sampler) Round(ctx context.Context) (next time.Duration, err error) {
	begun := time.Now()
	var due []*scheduled
	for _, a := range r.all {
		if !a.due.After(begun) {
			due = append(due, a)
			// All count from one start, so collectors with one interval stay in one round.
			a.due = after(r.begun, a.Interval, begun)
		}
	}
	_, err = r.collect(ctx, due, begun)
	r.adjust(due, begun)
	next = idle
	for _, a := range r.all {
		next = min(next, time.Until(a.due))
	}
	if !r.clock.trusted && begun.Sub(r.begun) < watchClosely {
		next = min(next, watchEvery)
	}
	if err != nil {
		next = min(next, storeRetry)
	}
	return max(next, 0), err
}

// after is the first multiple of interval from start that is later than now: missed
// rounds are not made up for.
func after(start time.Time, interval time.Duration, now time.Time) time.Time {
	missed := now.Sub(start) / interval
	return start.Add((missed + 1) * interval)
}

// Once runs every collector, and a second later again those that had no samples,
// because they report differences. It returns the number of samples stored and what
// could not be read.
func (r *Sampler) Once(ctx context.Context) (stored int, err error) {
	stored, err = r.collect(ctx, r.all, time.Now())
	if err != nil {
		return stored, err
	}
	again := slices.Clone(r.all)
	again = slices.DeleteFunc(again, func(a *scheduled) bool { return !a.noData })
	if len(again) > 0 {
		select {
		case <-ctx.Done():
			return stored, ctx.Err()
		case <-time.After(time.Second):
		}
		n, err := r.collect(ctx, again, time.Now())
		stored += n
		if err != nil {
			return stored, err
		}
	}
	var faults []error
	for _, a := range r.all {
		if s := a.component.Row(); s.FailingSinceMs != 0 {
			faults = append(faults, fmt.Errorf("%s: %s", a.Name, s.Error))
		}
	}
	return stored, errors.Join(faults...)
}

// collect runs the given collectors at the same time and stores their samples, together
// with those that an earlier round could not store.
func (r *Sampler) collect(ctx context.Context, due []*scheduled, wall time.Time) (stored int, err error) {
	now, err := store.Now()
	if err != nil {
		return 0, err
	}
	now.Wall = wall
	return r.collectAt(ctx, due, now)
}

// collectAt is collect at a given time. Two kinds of round store nothing: one that has
// only heartbeats, and one whose samples may wait for the next round.
func (r *Sampler) collectAt(ctx context.Context, due []*scheduled, now status.Moment) (int, error) {
	// Read: all start together, and their answers are awaited one after the other.
	due = r.withPlace(due)
	for _, a := range due {
		a.start(collect.Moment{Wall: now.Wall, Boot: now.Boot, BootID: r.clock.bootID, ClockTrusted: r.clock.trusted})
	}
	waiting, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	var u store.Update
	for _, a := range due {
		u.Groups = append(u.Groups, groupsOf(a.Priority, r.await(waiting, a, now))...)
	}
	if r.quiet(due, u.Groups, now.Wall) {
		return 0, nil
	}

	// Prepare: the clock says whether samples are held; samples that an earlier round
	// could not store come first.
	if r.canWait(due, now.Wall) {
		r.clock.update(now, func() status.Row { return r.skew(ctx, nil) })
		if r.storedLately(now.Wall) {
			r.queue.add(u.Groups, &r.clock)
			return 0, nil
		}
	}
	ready := r.ready(waiting, ctx) // if it is an error, the samples wait in the queue
	if r.restored {                // without an earlier run's counts the counters would go back
		if metrics := r.self.Due(now.Wall); len(metrics) > 0 {
			u.Groups = append(u.Groups, store.Group{Priority: status.SelfPriority, Self: true, Samples: metrics})
			r.countersDirty = true
		}
	}
	r.clock.update(now, func() status.Row { return r.skew(ctx, ready) })
	u.Groups, u.Lost = r.queue.add(u.Groups, &r.clock)
	n := 0
	for _, g := range u.Groups {
		n += len(g.Samples)
	}

	// Store: one transaction, unless there is nothing to store and no heartbeat is due.
	// A timer may be a little early, and a heartbeat may be a second late.
	beat := now.Wall.Sub(r.beaten).Abs() >= idle-time.Second
	if ready == nil && n == 0 && len(due) == 0 && len(u.Groups) == 0 && r.clock.stored && !beat {
		return 0, nil // only the clock was read
	}
	return r.record(ctx, u, n, ready, now)
}

// record stores the n samples of a round with their status rows and counters, unless
// ready says why nothing can be stored; then they wait in the queue.
func (r *Sampler) record(ctx context.Context, u store.Update, n int, ready error, now status.Moment) (stored int, err error) {
	if err = ready; err == nil {
		err = r.clock.store(ctx, r.db, now)
	}
	if err == nil {
		r.loop.Succeed(now, n)
		u.Status = r.rows(now)
		u.Counters = r.counters()
		stored, err = r.db.Record(context.WithoutCancel(ctx), u)
	}
	if err != nil {
		r.loop.Fail(now, err, 1)
		r.queued = true
		return 0, fmt.Errorf("%w; samples wait in memory for the next round", err)
	}
	if r.queued {
		r.queued = false
		r.log.Info("samples that waited in memory are stored", "samples", r.queue.size(), "lost", u.Lost[status.LostMemoryFull])
	}
	r.countersDirty, r.beaten = false, now.Wall
	for _, a := range r.all {
		a.unsaved = false
	}
	r.queue.clear()
	r.wrote(u.Status)
	return stored, nil
}

// ready says why nothing can be stored; nil means that it can. It waits a while for a
// database that another loop is opening or repairing.
func (r *Sampler) ready(waiting, ctx context.Context) error {
	if err := r.db.Await(waiting); err != nil {
		return err
	}
	return r.takeOver(ctx)
}
