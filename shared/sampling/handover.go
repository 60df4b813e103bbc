package sampling

import (
	"context"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// restore takes over what an earlier run counted, as soon as the database can
// be read.
func (r *Sampler) restore(ctx context.Context) error {
	statuses, err := r.db.Statuses(ctx)
	if err != nil {
		return err
	}
	counts, err := r.db.Counters(ctx)
	if err != nil {
		return err
	}
	keep := []string{status.CollectorRow, status.StorageRow}
	for _, a := range r.all {
		keep = append(keep, status.ReadingRow(a.Name))
	}
	if err := r.db.DropStatus(ctx, r.daemon, keep); err != nil {
		return err
	}
	if err := r.clock.restore(ctx, r.db); err != nil {
		return err
	}
	states := map[string]string{}
	for _, s := range statuses {
		states[s.Component] = s.Detail
		if s.Component == status.CollectorRow {
			r.loop.Restore(s)
		}
		for _, a := range r.all {
			if s.Component == status.ReadingRow(a.Name) {
				a.part.Restore(s)
			}
		}
	}
	kept := keptOf(statuses, counts)
	for _, a := range r.all {
		if a.keeper != nil {
			kept.State = states[status.ReadingRow(a.Name)]
			a.keeper.Restore(kept)
			a.part.SetDetail(detailOf(kept.State))
			a.due = time.Now() // it was left out until now
		}
	}
	r.self.Restore(counts, "collector.")
	r.restored = true
	return nil
}

func (r *Sampler) takeOver(ctx context.Context) error {
	if r.restored {
		return nil
	}
	return r.restore(ctx)
}

// Stop writes that the collector and its parts ended on purpose, and ends the
// session.
func (r *Sampler) Stop(ctx context.Context) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	err = r.takeOver(ctx) // or our counts would go back to what this run counted
	var last []status.Row
	for _, a := range r.all {
		a.part.Stop(now)
		if a.state != nil {
			a.part.SetDetail(a.state)
		}
		last = append(last, a.part.Row())
	}
	r.loop.Stop(now)
	r.countersDirty = true
	u := store.Update{Status: r.rows(now), Counters: r.counters()}
	u.Groups, u.Lost = r.queue.add(nil, &r.clock)
	if err == nil {
		_, err = r.db.Record(ctx, u)
	}
	if err != nil {
		if n := r.queue.size(); n > 0 {
			r.log.Error("the database cannot be written at the end; the samples that waited in memory are lost", "samples", n)
		}
		return err
	}
	r.queue.clear()
	return r.db.EndSession(ctx, now.Wall, append(last, r.loop.Row()))
}
