package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// patience is how long a round waits for its slowest collector. A sensor whose
// driver never answers must not hold up the others: it is left behind and
// counted, and not asked again before it has answered.
const patience = 3 * time.Second

// Rounds runs the collectors when they are due and stores what they return: all
// that is due together shares one clock reading and one transaction. It is
// owned by one goroutine.
type Rounds struct {
	db     *store.DB
	log    *slog.Logger
	all    []*asked
	daemon string
	loop   *store.Part // the daemon as a whole
	self   self
	queue  queue
}

// asked is a collector with what the rounds remember of it.
type asked struct {
	Scheduled
	part    *store.Part
	due     time.Time
	started time.Time   // of the answer that is outstanding
	answer  chan answer // nil: none is outstanding
	noData  bool        // the last answer was ErrNoData
	said    string      // the fault that was logged last, "" for none
}

type answer struct {
	samples []metric.Sample
	err     error
	took    time.Duration
}

// NewRounds prepares the rounds of the given collectors and takes over what an
// earlier run counted.
func NewRounds(ctx context.Context, db *store.DB, all []Scheduled, d store.Daemon, log *slog.Logger) (*Rounds, error) {
	r := &Rounds{db: db, log: log, daemon: d.Name}
	statuses, err := db.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]store.Status{}
	for _, s := range statuses {
		byName[s.Component] = s
	}
	part := func(component string, interval time.Duration) *store.Part {
		p := store.NewPart(d, component, interval)
		p.Restore(byName[component])
		return p
	}
	counts, err := db.Counters(ctx)
	if err != nil {
		return nil, err
	}
	r.self.tally.Restore(slices.DeleteFunc(counts, func(c metric.Count) bool {
		return !strings.HasPrefix(c.Name, "collector.") && c.Tags != metric.Tags("daemon", d.Name)
	}))

	now := time.Now()
	shortest := processEvery
	keep := []string{"collector"}
	for _, s := range all {
		shortest = min(shortest, s.Interval)
		name := "collector/" + s.Name
		keep = append(keep, name)
		r.all = append(r.all, &asked{Scheduled: s, part: part(name, s.Interval), due: now})
		r.self.tally.Add("collector.metrics_collected_total", 0, "collector", s.Name)
		r.self.tally.Add("collector.metrics_failed_total", 0, "collector", s.Name)
	}
	r.loop = part("collector", shortest)
	r.self.count = now.Add(processEvery - tallyEvery) // the first counts a minute from now
	return r, db.DropStatus(ctx, d.Name, keep)
}

// Round runs what is due now, stores it and returns how long to wait for the
// next. An error is of storing; what a collector could not read is in its
// status and its count.
func (r *Rounds) Round(ctx context.Context) (next time.Duration, err error) {
	begun := time.Now()
	var due []*asked
	for _, a := range r.all {
		if !a.due.After(begun) {
			due = append(due, a)
			a.due = after(a.due, a.Interval, begun)
		}
	}
	_, err = r.collect(ctx, due, begun)
	next = processEvery
	for _, a := range r.all {
		next = min(next, time.Until(a.due))
	}
	return max(next, 0), err
}

// after is the first time later than now on the beat of interval from start:
// rounds that were missed are not made up for.
func after(start time.Time, interval time.Duration, now time.Time) time.Time {
	missed := now.Sub(start) / interval
	return start.Add((missed + 1) * interval)
}

// Once runs every collector, and again a second later those that had nothing to
// say yet, as one does that reports a difference. It returns the number of
// samples stored and what could not be read.
func (r *Rounds) Once(ctx context.Context) (stored int, err error) {
	stored, err = r.collect(ctx, r.all, time.Now())
	if err != nil {
		return stored, err
	}
	again := slices.Clone(r.all)
	again = slices.DeleteFunc(again, func(a *asked) bool { return !a.noData })
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
		if s := a.part.Status(); s.FailingSinceMs != 0 {
			faults = append(faults, fmt.Errorf("%s: %s", a.Name, s.Error))
		}
	}
	return stored, errors.Join(faults...)
}

// collect asks the given collectors at the same time and stores their answers,
// along with what an earlier round could not store.
func (r *Rounds) collect(ctx context.Context, due []*asked, wall time.Time) (stored int, err error) {
	now := store.Moment{Wall: wall}
	if now.Boot, err = hostfs.BootTime(); err != nil {
		return 0, fmt.Errorf("read the boot clock: %w", err)
	}
	for _, a := range due {
		a.ask(wall)
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var u store.Update
	for _, a := range due {
		if samples := r.take(waiting, a, now); len(samples) > 0 {
			u.Groups = append(u.Groups, store.Group{Priority: a.Priority, Samples: samples})
		}
		u.Status = append(u.Status, a.part.Status())
	}
	if own := r.self.samples(r.daemon, wall); len(own) > 0 {
		u.Groups = append(u.Groups, store.Group{Priority: selfPriority, Samples: own})
	}
	n := 0
	for _, g := range u.Groups {
		n += len(g.Samples)
	}
	r.loop.Succeed(now, n)
	u.Status = append(u.Status, r.loop.Status())
	u.Counters = r.self.tally.All()
	u.Groups, u.Lost = r.queue.add(u.Groups)
	if stored, err = r.db.Record(context.WithoutCancel(ctx), u); err != nil {
		r.loop.Fail(now, err, 1)
		return 0, fmt.Errorf("%w; %d samples wait in memory for the next round", err, r.queue.size())
	}
	r.queue.clear()
	return stored, nil
}

// ask starts the collector, unless it still owes an answer.
func (a *asked) ask(now time.Time) {
	if a.answer != nil {
		return
	}
	a.started, a.answer = time.Now(), make(chan answer, 1)
	go func(out chan<- answer) {
		begun := time.Now()
		samples, err := a.Collect(now)
		out <- answer{samples, err, time.Since(begun)}
	}(a.answer)
}

// take waits for the collector's answer and enters it in its status and counts.
func (r *Rounds) take(ctx context.Context, a *asked, now store.Moment) []metric.Sample {
	var got answer
	select { // an answer counts, also when the patience for another's has run out
	case got = <-a.answer:
		a.answer = nil
	default:
		select {
		case got = <-a.answer:
			a.answer = nil
		case <-ctx.Done():
			got.err = fmt.Errorf("no answer for %s; it is asked again once it has answered", time.Since(a.started).Round(time.Second))
		}
	}
	failed := Failed(got.err)
	a.noData = errors.Is(got.err, ErrNoData)
	r.self.tally.Add("collector.metrics_collected_total", float64(len(got.samples)), "collector", a.Name)
	r.self.tally.Add("collector.metrics_failed_total", float64(failed), "collector", a.Name)
	if a.answer == nil {
		r.self.tally.Observe("collector.collection_duration_seconds", got.took.Seconds(), "collector", a.Name)
	}
	if failed == 0 || len(got.samples) > 0 {
		a.part.Succeed(now, len(got.samples))
	}
	if failed > 0 {
		a.part.Fail(now, got.err, failed)
	}
	r.say(a, failed, got.err)
	return got.samples
}

// say logs what a collector cannot read once, when it begins or changes, and
// its end.
func (r *Rounds) say(a *asked, failed int, err error) {
	text := ""
	if failed > 0 {
		text = err.Error()
	}
	switch {
	case text == a.said:
	case text == "":
		r.log.Info("collector reads everything again", "collector", a.Name)
	case a.answer != nil && a.said != "":
		return // still the same silence; only its length changes
	default:
		r.log.Warn("collector could not read everything; what it could read is stored, the rest is skipped and counted", "collector", a.Name, "failed", failed, "error", text)
	}
	a.said = text
}

// Stop writes that the collector and its parts ended on purpose, and ends the
// session.
func (r *Rounds) Stop(ctx context.Context) error {
	now := store.Moment{Wall: time.Now()}
	var err error
	if now.Boot, err = hostfs.BootTime(); err != nil {
		return fmt.Errorf("read the boot clock: %w", err)
	}
	var last []store.Status
	for _, a := range r.all {
		a.part.Stop(now)
		last = append(last, a.part.Status())
	}
	r.loop.Stop(now)
	return r.db.EndSession(ctx, now.Wall, append(last, r.loop.Status()))
}
