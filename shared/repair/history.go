package repair

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A history is what the owner knows of the database besides what is in it. A
// file that was emptied, cut short or put back from a copy opens without an
// error; that it had captured more before is all that tells.
type history struct {
	last    store.Ledger // the furthest that was seen
	atLeast bool         // last is of an earlier run: there may have been more since
	loaded  bool         // the witness of an earlier run was read
	created bool         // the file at the path was made by this owner, with nothing in it
	written store.Ledger // in the witness
	due     time.Time    // of the next witness
}

// remember takes over what was recorded since.
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

// missing compares the file's ledger with what is remembered: how many samples it
// does not know of, by whether the server has them.
//
// A sample that was delivered and is pending again in an earlier state is counted
// as delivered once it is sent again, so of what was delivered since, only the
// rest can be among what is missing. All that is pending may be so: the loss is
// never understated. In a state of the same moment, of which pages are missing,
// nothing is.
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

// compare adds to the repair what an earlier state of the database knew, and
// says so.
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
		text = fmt.Sprintf("the database went back to an earlier state: %d samples were captured, and it knows of %d; %s%d samples are lost, %d were delivered before",
			last.Captured, now.Captured, o.history.qualifier(), r.BackLost, r.BackDelivered)
	case o.history.created && now.Captured == 0 && last.Captured == 0:
		if witness := witnessOf(o.path); witness != "" {
			text = fmt.Sprintf("the database was missing or empty, and a new one was made; %s is of an earlier one, and how many samples that had is unknown", witness)
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

// qualifier begins the count of what is lost.
func (h history) qualifier() string {
	if h.atLeast {
		return "at least "
	}
	return ""
}

// witnessOf names a file beside the database at path that only an earlier one can
// have left, "" if there is none.
func witnessOf(path string) string {
	if _, err := os.Lstat(path + ballastSuffix); err == nil {
		return filepath.Base(path + ballastSuffix)
	}
	kept, err := Kept(path)
	if err != nil || len(kept) == 0 {
		return ""
	}
	return filepath.Base(kept[len(kept)-1])
}

// accept takes the file's ledger for what is known from now on.
func (o *Owner) accept(ctx context.Context, one *store.DB) error {
	l, _, err := one.Ledger(ctx)
	if err != nil {
		return err
	}
	o.history.last, o.history.atLeast, o.history.created = l, false, false
	return nil
}

const (
	// witnessEvery is how often the witness is written while samples come in; a
	// sixteenth more than it says has it written sooner.
	witnessEvery = 5 * time.Minute
	growth       = 16
)

// keepWitness writes what is remembered into the ballast.
func (o *Owner) keepWitness(now time.Time) {
	last, written := o.history.last, o.history.written
	if last == written || now.Before(o.history.due) && last.Captured-written.Captured <= written.Captured/growth {
		return
	}
	o.history.due = now.Add(witnessEvery)
	if err := writeWitness(o.path+ballastSuffix, last); err != nil {
		o.log.Debug("the ledger could not be noted in the ballast", "error", err)
		return
	}
	o.history.written = last
}

// Stop notes how far the database came, for the next start.
func (o *Owner) Stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remember()
	if o.history.last != o.history.written {
		_ = writeWitness(o.path+ballastSuffix, o.history.last) // an older one is no wrong one
	}
}

// The witness is text at the beginning of the ballast.
const (
	witnessHead  = "This file keeps room for when the disk is full, and remembers how far the database beside it came.\n"
	witnessBytes = 512
)

// witnessText is the witness of a ledger.
func witnessText(l store.Ledger) string {
	text := fmt.Sprintf("%scaptured %d delivered %d held %d rejected %d local %d lost %d", witnessHead, l.Captured, l.Delivered, l.Held, l.Rejected, l.Local, l.Lost)
	return fmt.Sprintf("%s sum %08x\n", text, sumOf(text))
}

// parseWitness reads a witness; ok is false for anything else.
func parseWitness(text string) (l store.Ledger, ok bool) {
	body, sum, found := strings.Cut(text, " sum ")
	if !found || !strings.HasPrefix(sum, fmt.Sprintf("%08x\n", sumOf(body))) {
		return store.Ledger{}, false
	}
	_, err := fmt.Sscanf(strings.TrimPrefix(body, witnessHead), "captured %d delivered %d held %d rejected %d local %d lost %d",
		&l.Captured, &l.Delivered, &l.Held, &l.Rejected, &l.Local, &l.Lost)
	for _, n := range []int64{l.Captured, l.Delivered, l.Held, l.Rejected, l.Local, l.Lost} {
		if err != nil || n < 0 || n > 1<<53 {
			return store.Ledger{}, false
		}
	}
	l.Pending = l.Captured - l.Delivered - l.Held - l.Rejected - l.Local - l.Lost
	return l, true
}
