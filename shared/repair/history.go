package repair

import (
	"context"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A history is what the owner remembers of the database. A file that was emptied,
// cut short or restored from a copy opens without an error; only the ledger, which
// had counted more samples before, shows it.
type history struct {
	last    store.Ledger // the newest that was read
	atLeast bool         // last is of an earlier run, which may have counted more later
	loaded  bool         // the witness of an earlier run was read
	created bool         // this owner created the file at the path, or it was empty
	written store.Ledger // to the witness
	due     time.Time    // when the witness has to be written next
}

// remember reads the newest ledger.
func (o *Owner) remember() {
	if !o.history.loaded {
		o.history.loaded = true
		if l, ok := readWitness(o.path + ballastSuffix); ok {
			o.history.last, o.history.atLeast = l, true
		}
	}
	if l := o.db.LastLedger(); l.Captured >= o.history.last.Captured {
		o.history.last, o.history.atLeast = l, false
	}
}

// missing compares the file's ledger with the one that is remembered. It returns how
// many samples the file does not have: delivered ones and lost ones.
//
// In an earlier state, samples may be pending that were delivered since. They count
// as delivered when they are sent again, so they must not be counted as delivered
// here. Any pending sample may be one of them: the loss is never understated.
// Not so if the file is of the same moment and only lost pages.
func missing(last, now store.Ledger, sameMoment bool) (delivered, lost int64) {
	captured := last.Captured - now.Captured
	if captured <= 0 {
		return 0, 0
	}
	delivered = max(0, last.Delivered-now.Delivered)
	if !sameMoment {
		delivered = max(0, delivered-undelivered(now))
	}
	delivered = min(captured, delivered)
	return delivered, captured - delivered
}

// compare adds the samples to the repair that the database no longer has, because it
// went back to an earlier state, and reports them.
func (o *Owner) compare(ctx context.Context, one *store.DB, r *store.Repair) error {
	now, _, err := one.Ledger(ctx)
	if err != nil {
		return err
	}
	last := o.history.last
	r.BackDelivered, r.BackLost = missing(last, now, o.reopening.pagesOnly)
	text := ""
	switch {
	case r.BackDelivered+r.BackLost > 0:
		text = fmt.Sprintf("the database went back to an earlier state: %d samples had been captured, it has %d; "+
			"%s%d samples are lost, %d were delivered before",
			last.Captured, now.Captured, o.history.qualifier(), r.BackLost, r.BackDelivered)
	case o.history.created && now.Captured == 0 && last.Captured == 0:
		if witness := witnessOf(o.path); witness != "" {
			text = fmt.Sprintf("the database was missing or empty, and a new one was made; "+
				"%s is of an earlier one, and how many samples that had is unknown", witness)
		}
	}
	if text == "" {
		return nil
	}
	o.log.Error("the database went back to an earlier state; the missing samples are counted as lost",
		"database", o.path, "captured_before", last.Captured, "captured", now.Captured, "lost", r.BackLost, "detail", text)
	at := time.Now().UnixMilli()
	r.Status = append(r.Status, status.Row{
		Component: status.HistoryRow, Daemon: status.StorageRow, State: status.Stopped, StartedMs: at,
		Error: text, ErrorMs: at, SuccessBootMs: -1,
	})
	return nil
}

// qualifier is the text before the number of lost samples.
func (h history) qualifier() string {
	if h.atLeast {
		return "at least "
	}
	return ""
}

// accept remembers the file's ledger instead of the previous one.
func (o *Owner) accept(ctx context.Context, one *store.DB) error {
	l, _, err := one.Ledger(ctx)
	if err != nil {
		return err
	}
	o.history.last, o.history.atLeast, o.history.created = l, false, false
	return nil
}

// Stop writes the newest ledger into the ballast, for the next start.
func (o *Owner) Stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remember()
	if o.history.last != o.history.written {
		_ = writeWitness(o.path+ballastSuffix, o.history.last) // after an error it has an older one
	}
}
