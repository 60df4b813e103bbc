package sampling

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// moreAfter is when a collector that has more to read runs again.
	moreAfter = time.Second
	// searchEvery is how often an optional collector that has never found anything to
	// read looks for it.
	searchEvery = 30 * time.Second
	// restFor is how long nothing need be stored while there are only heartbeats to
	// store. Heartbeats are due every 5 s and may be 10 s late.
	restFor = 9 * time.Second
)

// resuming is the state of a collector that keeps its place over restarts.
type resuming struct {
	resumer collect.Resumer // nil: it keeps none
	counts  []metric.Count
	state   any  // nil: none yet
	unsaved bool // state and counts have to be stored
	more    bool // it has more to read
	wait    bool // its last samples may be stored with the next samples of others
}

// withPlace leaves out the resumers while they do not know their place of the last run.
func (r *Sampler) withPlace(due []*scheduled) []*scheduled {
	if r.restored {
		return due
	}
	return slices.DeleteFunc(slices.Clone(due), func(a *scheduled) bool { return a.resumer != nil })
}

// adjust makes collectors that have more to read due again at once, and those that have
// never found anything later, so that a machine without an encoder does not wake up for
// one.
func (r *Sampler) adjust(due []*scheduled, begun time.Time) {
	for _, a := range due {
		switch {
		case a.more:
			a.due = begun.Add(min(moreAfter, a.Interval))
		case a.Optional && !a.found && !a.started.IsZero():
			a.due = a.due.Add(a.searchInterval() - a.Interval)
		}
	}
}

// searchInterval is how often a collector runs that has never found anything: the first
// multiple of its interval that is long enough.
func (a *scheduled) searchInterval() time.Duration {
	return a.Interval * max(1, (searchEvery+a.Interval-1)/max(1, a.Interval))
}

// remember notes what has to be stored beside the samples.
func (a *scheduled) remember(o collect.Observation) {
	a.more, a.wait = o.Soon, o.Wait
	if o.State != nil {
		a.state = o.State
	}
	if o.Counts != nil {
		a.counts = o.Counts
	}
	if o.Keep {
		// A row that changes is written. A place alone, without samples, is written only
		// at the end.
		a.unsaved = true
		a.component.SetDetail(o.State)
	}
}

// groupsOf returns the samples and events of one answer.
func groupsOf(priority int, o collect.Observation) []store.Group {
	var groups []store.Group
	if len(o.Samples)+len(o.Events) > 0 {
		groups = append(groups, store.Group{Priority: priority, Samples: o.Samples, Events: o.Events})
	}
	if len(o.Earlier.Samples)+len(o.Earlier.Events) > 0 {
		groups = append(groups, store.Group{
			Priority: priority, Samples: o.Earlier.Samples, Events: o.Earlier.Events,
			ClockTrusted: true,
		})
	}
	return groups
}

// quiet says whether a round has nothing to store. Each transaction writes pages, also if
// it has nothing but heartbeats.
func (r *Sampler) quiet(due []*scheduled, groups []store.Group, now time.Time) bool {
	if len(due) == 0 || len(groups) > 0 || r.queue.size() > 0 || !r.storedLately(now) {
		return false
	}
	return !slices.ContainsFunc(due, func(a *scheduled) bool {
		return a.unsaved || !a.noData || a.answer != nil
	})
}

// canWait says whether a round's samples may be stored in the next round, which is near:
// two transactions write twice the pages. A kill until then loses nothing, because only
// resumers found samples, and their place is not stored either.
func (r *Sampler) canWait(due []*scheduled, now time.Time) bool {
	near := func(a *scheduled) bool { return a.due.After(now) && a.due.Sub(now) < restFor }
	if len(due) == 0 || !r.storedLately(now) || !slices.ContainsFunc(r.all, near) {
		return false
	}
	return !slices.ContainsFunc(due, func(a *scheduled) bool {
		return a.answer != nil || !a.wait && (a.unsaved || !a.noData)
	})
}

// storedLately says whether the database has everything of the earlier rounds, and a
// recent heartbeat.
func (r *Sampler) storedLately(now time.Time) bool {
	if !r.restored || r.queued || r.countersDirty || !r.clock.stored || !r.clock.trusted {
		return false
	}
	age := now.Sub(r.beaten)
	return age >= 0 && age < restFor
}

// counters are the counters to write. Self-metrics that were reported must not go back
// after a restart; writing them in each round would write a fifth more.
func (r *Sampler) counters() []metric.Count {
	var counts []metric.Count
	if r.countersDirty {
		counts = r.self.Tally.All()
	}
	for _, a := range r.all {
		if a.unsaved {
			counts = append(counts, a.counts...)
		}
	}
	return counts
}

// lastRunOf is what an earlier run left, without the states of the collectors.
func lastRunOf(rows []status.Row, counts []metric.Count) collect.LastRun {
	k := collect.LastRun{Counts: counts}
	for _, row := range rows {
		if row.Component != status.ClockRow {
			continue
		}
		if clock, err := status.Detail[status.Clock](row); err == nil {
			k.BootID, k.ClockTrusted = row.BootID, clock.IsTrusted()
		}
	}
	return k
}

// detailOf returns a stored detail.
func detailOf(state string) json.RawMessage {
	if !json.Valid([]byte(state)) {
		return json.RawMessage("{}")
	}
	return json.RawMessage(state)
}
