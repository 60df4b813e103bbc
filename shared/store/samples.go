package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

// State is the state of a sample.
type State int

// The states, as stored in samples.uploaded.
const (
	Pending   State = 0
	Delivered State = 1
	Rejected  State = 2
	Held      State = 3 // its time is not trusted yet
	Local     State = 4 // a text value, which is never sent
)

// An Update is what a daemon writes in one transaction. Each part may be empty.
type Update struct {
	Groups   []Group
	HoldAll  bool // hold every sample, even if the clock was recorded as trusted
	Status   []status.Row
	Counters []metric.Count // self-metrics that continue after a restart
	Lost     map[string]int // samples that were dropped before they could be stored, by reason
}

// A Group is samples and events with one priority. Priority 0 is sent first and
// deleted last, priority 3 the reverse.
type Group struct {
	Priority     int
	Samples      []metric.Sample
	Events       []metric.Event
	ClockTrusted bool // the clock was trusted when they were stamped: never held
	Self         bool // self-metrics: stored even if the limit on series is reached
}

// Record stores an update in one transaction and returns how many samples were
// new. A sample that is already stored changes nothing. A sample with another value
// than the stored one of its series and time is counted as lost, and so is one that
// cannot be stored at all: otherwise it would make every try fail. After an error
// nothing of the update is stored.
func (db *DB) Record(ctx context.Context, u Update) (stored int, err error) {
	var l Ledger
	err = db.seriesTx(ctx, func(tx *sql.Tx) (fresh []*Series, err error) {
		if stored, fresh, err = db.writeUpdate(ctx, tx, u); err == nil {
			l, _, err = ledger(ctx, tx)
		}
		return fresh, err
	})
	if err != nil {
		return 0, fmt.Errorf("record: %w", err)
	}
	db.guard.noteLedger(l)
	return stored, nil
}

// seriesTx is tx for an fn that may store series. It returns them, and they are
// added to the cache after the commit.
func (db *DB) seriesTx(ctx context.Context, fn func(*sql.Tx) (fresh []*Series, err error)) error {
	var fresh []*Series
	err := db.tx(ctx, func(tx *sql.Tx) (err error) {
		fresh, err = fn(tx)
		return err
	})
	if err != nil {
		db.series.recount()
		return err
	}
	db.series.addStored(fresh)
	return nil
}

// writeUpdate writes an update and its entries in the ledger.
func (db *DB) writeUpdate(ctx context.Context, tx *sql.Tx, u Update) (stored int, fresh []*Series, err error) {
	lost := map[string]int{}
	maps.Copy(lost, u.Lost)
	entries := map[string]int{}
	if len(u.Groups) > 0 {
		var held int
		if stored, held, fresh, err = db.writeGroups(ctx, tx, u, lost); err != nil {
			return 0, nil, err
		}
		entries["held"] = held
	}
	entries["captured"] = stored
	for _, reason := range slices.Sorted(maps.Keys(lost)) {
		if err := addLoss(ctx, tx, reason, lost[reason], time.Now()); err != nil {
			return 0, nil, err
		}
		entries["captured"] += lost[reason]
	}
	if err := addToLedger(ctx, tx, entries); err != nil {
		return 0, nil, err
	}
	if err := writeStatus(ctx, tx, u.Status); err != nil {
		return 0, nil, err
	}
	return stored, fresh, writeCounters(ctx, tx, u.Counters)
}

// writeGroups writes the samples and events of an update: first those that are held
// because the clock is not trusted, then the others. It adds samples that cannot be
// stored to lost, and returns how many were stored, how many of them are held, and
// the series that are new.
func (db *DB) writeGroups(ctx context.Context, tx *sql.Tx, u Update, lost map[string]int) (stored, held int, fresh []*Series, err error) {
	if err := db.syncSeries(ctx, tx); err != nil {
		return 0, 0, nil, err
	}
	h, err := db.holdOf(ctx, tx, u)
	if err != nil {
		return 0, 0, nil, err
	}
	isHeld := func(g Group) bool { return h.held && !g.ClockTrusted }
	toHold := slices.DeleteFunc(slices.Clone(u.Groups), func(g Group) bool { return !isHeld(g) })
	held, fresh, err = db.insert(ctx, tx, toHold, Held, h.session, h.shiftMs, lost)
	if err != nil {
		return 0, 0, nil, err
	}
	if err := writeEvents(ctx, tx, toHold, h.session, h.shiftMs); err != nil {
		return 0, 0, nil, err
	}
	toSend := slices.DeleteFunc(slices.Clone(u.Groups), isHeld)
	pending, more, err := db.insert(ctx, tx, toSend, Pending, db.session, 0, lost)
	if err != nil {
		return 0, 0, nil, err
	}
	if err := writeEvents(ctx, tx, toSend, 0, 0); err != nil {
		return 0, 0, nil, err
	}
	return held + pending, held, append(fresh, more...), nil
}
