package sampling

import (
	"context"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// restore takes over the state and the counters of an earlier run. It needs the
// database.
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
				a.component.Restore(s)
			}
		}
	}
	kept := lastRunOf(statuses, counts)
	for _, a := range r.all {
		if a.resumer != nil {
			kept.State = states[status.ReadingRow(a.Name)]
			a.resumer.Restore(kept)
			a.component.SetDetail(detailOf(kept.State))
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

// Stop records that the daemon and its collectors ended on purpose, and ends the
// session.
func (r *Sampler) Stop(ctx context.Context) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	err = r.takeOver(ctx) // without an earlier run's counts the counters would go back
	var last []status.Row
	for _, a := range r.all {
		a.component.Stop(now)
		if a.state != nil {
			a.component.SetDetail(a.state)
		}
		last = append(last, a.component.Row())
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
