package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	maxSessions = 100
	maxEvents   = 1000
	// maxSamples bounds the excerpt, excerptRows one of its transactions.
	maxSamples  = 2_000_000
	excerptRows = 5000
)

// state writes what the database knows beside samples.
func (in Input) state(s scrubber) func(context.Context, string) error {
	return func(ctx context.Context, path string) error {
		r, err := store.OpenReader(ctx, in.Config.Storage.Path, store.ReadOptions{Still: true})
		if err != nil {
			return err
		}
		defer r.Close()
		var state struct {
			Snapshot store.Snapshot
			Sessions []store.Run
			Events   []metric.Event
			Counters []metric.Count
			Faults   []string `json:",omitempty"` // of reading
		}
		var err1, err2, err3, err4 error
		state.Snapshot, err1 = r.Snapshot(ctx)
		state.Sessions, _, err2 = r.Sessions(ctx, maxSessions)
		state.Events, _, err3 = r.RecentEvents(ctx, maxEvents)
		state.Counters, err4 = r.Counters(ctx)
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				state.Faults = append(state.Faults, err.Error())
			}
		}
		text, err := json.MarshalIndent(state, "", " ")
		if err != nil {
			return err
		}
		return writeText(path, s.json(string(text)))
	}
}

// excerpt makes a database of its own with the samples of the window, and the
// events and status rows that there are.
func (in Input) excerpt(s scrubber) func(context.Context, string) error {
	return func(ctx context.Context, path string) (err error) {
		r, err := store.OpenReader(ctx, in.Config.Storage.Path, store.ReadOptions{Still: true})
		if err != nil {
			return err
		}
		defer r.Close()
		db, err := store.Open(ctx, path, store.Options{Device: in.Config.Device.ID, Synchronous: "NORMAL"})
		if err != nil {
			return err
		}
		err = errors.Join(in.copySamples(ctx, db, r, s), copyRest(ctx, db, r, s))
		if err == nil {
			_, err = db.Checkpoint(ctx, 0)
		}
		return errors.Join(err, db.Close(), removeBeside(path))
	}
}

func (in Input) copySamples(ctx context.Context, db *store.DB, r *store.Reader, s scrubber) error {
	var batch []metric.Sample
	tags := map[string]string{}
	flush := func() error {
		_, err := db.Record(ctx, store.Update{Groups: []store.Group{{Samples: batch, ClockTrusted: true}}})
		batch = batch[:0]
		return err
	}
	count := 0
	err := r.Stored(ctx, in.Now.Add(-window).UnixMilli(), func(one store.Stored) error {
		if count++; count > maxSamples {
			return nil
		}
		clean, known := tags[one.Series.Tags]
		if !known {
			clean = s.json(one.Series.Tags)
			tags[one.Series.Tags] = clean
		}
		batch = append(batch, metric.Sample{Name: s.text(one.Series.Name), Tags: clean, TimeMs: one.TimeMs, Value: one.Value})
		if len(batch) == excerptRows {
			return flush()
		}
		return nil
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return err
}

func copyRest(ctx context.Context, db *store.DB, r *store.Reader, s scrubber) error {
	rows, err := r.Statuses(ctx)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].Error, rows[i].Detail = s.text(rows[i].Error), s.json(rows[i].Detail)
	}
	// Whether the clock is trusted is a row that would hold the samples here.
	kept := rows[:0]
	for _, row := range rows {
		if row.Component != status.ClockRow {
			kept = append(kept, row)
		}
	}
	events, _, err := r.RecentEvents(ctx, maxEvents)
	if err != nil {
		return err
	}
	for i := range events {
		events[i].Text, events[i].Link = s.text(events[i].Text), s.text(events[i].Link)
	}
	_, err = db.Record(ctx, store.Update{Status: kept, Groups: []store.Group{{Events: events, ClockTrusted: true}}})
	return err
}

// removeBeside deletes what SQLite leaves beside a database that was emptied into
// its file.
func removeBeside(path string) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
