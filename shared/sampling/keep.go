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
	// soon is when a collector is asked again that has more to read.
	soon = time.Second
	// lookAgain is how often one that has never found anything looks for it.
	lookAgain = 20 * time.Second
	// quietFor is how long nothing need be stored while there is nothing to store
	// but that all live. Heartbeats are due at least every 5 s and may be 10 s late.
	quietFor = 9 * time.Second
)

// keeping is what is remembered of a collector that is a keeper.
type keeping struct {
	keeper collect.Keeper // nil: it is none
	counts []metric.Count
	state  any  // nil: none yet
	unkept bool // state and counts have to be stored
	more   bool // it has more to read
	wait   bool // what it found last may be stored with the next samples of others
}

// askable leaves out the keepers as long as they do not know where they stopped.
func (r *Sampler) askable(due []*scheduled) []*scheduled {
	if r.restored {
		return due
	}
	return slices.DeleteFunc(slices.Clone(due), func(a *scheduled) bool { return a.keeper != nil })
}

// adjust makes those due soon that have more to read, and those later that have
// never found anything: a machine without an encoder does not wake up for one.
func (r *Sampler) adjust(due []*scheduled, begun time.Time) {
	for _, a := range due {
		switch {
		case a.more:
			a.due = begun.Add(min(soon, a.Interval))
		case a.Optional && !a.found && r.restored:
			a.due = a.due.Add(a.seldom() - a.Interval)
		}
	}
}

// seldom is how often one is asked that has never found anything: the first multiple
// of its interval that is long enough.
func (a *scheduled) seldom() time.Duration {
	return a.Interval * max(1, (lookAgain+a.Interval-1)/max(1, a.Interval))
}

// keep takes over what has to be stored beside the samples.
func (a *scheduled) keep(o collect.Observation) {
	a.more, a.wait = o.Soon, o.Wait
	if o.State != nil {
		a.state = o.State
	}
	if o.Counts != nil {
		a.counts = o.Counts
	}
	if o.Keep {
		// A row that changes is written: one that only says how far it looked, and
		// found nothing, is worth that at the end.
		a.unkept = true
		a.part.SetDetail(o.State)
	}
}

// groupsOf are the samples and events of one answer.
func groupsOf(priority int, o collect.Observation) []store.Group {
	var groups []store.Group
	if len(o.Samples)+len(o.Events) > 0 {
		groups = append(groups, store.Group{Priority: priority, Samples: o.Samples, Events: o.Events})
	}
	if len(o.Earlier.Samples)+len(o.Earlier.Events) > 0 {
		groups = append(groups, store.Group{Priority: priority, Samples: o.Earlier.Samples, Events: o.Earlier.Events, ClockTrusted: true})
	}
	return groups
}

// quiet says whether a round has nothing to store: each transaction writes pages,
// however little is in it, and a collector that only looks has nothing to say.
func (r *Sampler) quiet(due []*scheduled, groups []store.Group, now time.Time) bool {
	if len(due) == 0 || len(groups) > 0 || r.queue.size() > 0 || !r.wroteLately(now) {
		return false
	}
	return !slices.ContainsFunc(due, func(a *scheduled) bool {
		return a.unkept || !a.noData || a.answer != nil
	})
}

// canWait says whether what a round found may be stored with the next one, which is
// near: a transaction of its own takes twice the pages. A kill until then loses
// nothing, as only keepers found something, and their place is not stored either.
func (r *Sampler) canWait(due []*scheduled, now time.Time) bool {
	near := func(a *scheduled) bool { return a.due.After(now) && a.due.Sub(now) < quietFor }
	if len(due) == 0 || !r.wroteLately(now) || !slices.ContainsFunc(r.all, near) {
		return false
	}
	return !slices.ContainsFunc(due, func(a *scheduled) bool {
		return a.answer != nil || !a.wait && (a.unkept || !a.noData)
	})
}

// wroteLately says whether the database has all that an earlier round found, and
// that all live.
func (r *Sampler) wroteLately(now time.Time) bool {
	if !r.restored || r.queued || r.countersDirty || !r.clock.stored || !r.clock.trusted {
		return false
	}
	age := now.Sub(r.beaten)
	return age >= 0 && age < quietFor
}

// counters are the counts to write. Of what the daemon says of itself only what
// was said must never go back after a restart; to keep the counts of each round
// would write a fifth more.
func (r *Sampler) counters() []metric.Count {
	var counts []metric.Count
	if r.countersDirty {
		counts = r.self.Tally.All()
	}
	for _, a := range r.all {
		if a.unkept {
			counts = append(counts, a.counts...)
		}
	}
	return counts
}

// keptOf is what is kept of an earlier run, without the states.
func keptOf(rows []status.Row, counts []metric.Count) collect.Kept {
	k := collect.Kept{Counts: counts}
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

// detailOf is a detail as it was stored.
func detailOf(state string) json.RawMessage {
	if !json.Valid([]byte(state)) {
		return json.RawMessage("{}")
	}
	return json.RawMessage(state)
}
