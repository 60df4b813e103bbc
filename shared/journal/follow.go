package journal

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// A Cursor names the last entry that was read.
type Cursor struct {
	SeqnumID ID
	Seqnum   uint64
}

// Bounds are how much one Poll reads.
type Bounds struct {
	Entries int       // at most, wanted or not
	Since   time.Time // older entries are skipped; zero: none are
	Recent  time.Time // where there is no cursor: entries from here on are given as past
	// The age of this boot's entries is taken from its monotonic clock, because their
	// wall clock may have been wrong.
	BootID    ID
	BootSince time.Duration
}

// old says whether an entry is to be skipped.
func (b Bounds) old(s stamp) bool {
	if s.boot == b.BootID {
		return s.monotonic < uint64(max(b.BootSince.Microseconds(), 0)) //nolint:gosec // not negative
	}
	return s.realtime < micros(b.Since)
}

// A Report is the result of one Poll besides the entries.
type Report struct {
	Old      uint64 // entries skipped because they are older than Bounds.Since
	Vanished uint64 // numbers between two entries that no file holds any more
	Restarts int    // how often another journal was started
	More     bool   // the bound of entries was reached; there may be more
	Skipped  Skipped
}

// ErrAbsent says that there is no journal.
var ErrAbsent = errors.New("no journal")

// A Follower reads a journal entry by entry, over its rotations. It is owned by
// one goroutine.
type Follower struct {
	dirs []string
	want Selection

	at    Cursor // zero: none yet
	file  *File
	dir   string // that the file is in
	ended bool   // the file is not the one that is written to
	done  bool   // all entries that the file had at the last check were given
	boot  ID     // of the last entry that was read
	fresh bool   // it is not known yet whether the file continues after the cursor
}

// Follow prepares the following of the journal in the first of the directories
// that has one, from a cursor on; a zero cursor begins at the end.
func Follow(dirs []string, want Selection, at Cursor) *Follower {
	return &Follower{dirs: dirs, want: want, at: at}
}

// Cursor is the follower's place.
func (f *Follower) Cursor() Cursor { return f.at }

// Boot is the boot of the last entry that was read, wanted or not; zero: none was.
func (f *Follower) Boot() ID { return f.boot }

// Close closes the file that is open.
func (f *Follower) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Poll passes every entry that is wanted and new to each. Past says that the entry is
// from before the first cursor, and only shows the state. Without a journal Poll fails
// with ErrAbsent. Any other error means that a file could not be read to its end; the
// entries before it are passed.
func (f *Follower) Poll(b Bounds, each func(e Entry, past bool)) (r Report, err error) {
	for left := b.Entries; ; {
		err := f.choose(b, &r, each)
		if err == nil {
			f.gap(&r)
			err = f.drain(&left, each)
		}
		f.count(&r)
		if err != nil {
			return r, f.giveUp(err, &r)
		}
		if !f.done {
			r.More = true
			return r, nil
		}
		if !f.ended {
			return r, nil
		}
	}
}

// count moves what the file counted into the report.
func (f *Follower) count(r *Report) {
	if f.file == nil {
		return
	}
	s := &f.file.Skipped
	if f.file.boot != (ID{}) {
		f.boot = f.file.boot
	}
	r.Skipped.Compressed += s.Compressed
	r.Skipped.Long += s.Long
	r.Skipped.Damaged += s.Damaged
	*s = Skipped{}
}

// giveUp closes a file that cannot be read, so that it is opened again. A file that is not
// written to any more stays unreadable: it is skipped, and its entries are counted.
func (f *Follower) giveUp(err error, r *Report) error {
	if f.file == nil {
		return err
	}
	if tail := f.file.header.tail; f.ended && f.file.header.seqnumID == f.at.SeqnumID && tail > f.at.Seqnum {
		r.Vanished += tail - f.at.Seqnum
		f.at.Seqnum = tail
	}
	return errors.Join(err, f.Close())
}

// drain passes the rest of the open file, at most left entries.
func (f *Follower) drain(left *int, each func(Entry, bool)) error {
	for *left > 0 {
		e, passed, err := f.file.Next(*left)
		*left -= passed
		if err == nil && e.Seqnum > f.at.Seqnum {
			f.at.Seqnum = e.Seqnum
			each(e, false)
		}
		f.at.Seqnum = max(f.at.Seqnum, f.file.last)
		switch {
		case errors.Is(err, io.EOF):
			f.done = true
			return nil
		case errors.Is(err, errLimit):
			return nil
		case err != nil:
			return fmt.Errorf("read %s: %w", f.file.f.Name(), err)
		}
	}
	return nil
}

// begin moves to the place in a newly opened file at which reading starts.
func (f *Follower) begin(b Bounds, r *Report, each func(Entry, bool)) error {
	h := f.file.header
	if h.seqnumID != f.at.SeqnumID || h.entries > 0 && h.tail < f.at.Seqnum {
		if f.at != (Cursor{}) {
			r.Restarts++
		}
		return f.recent(b, each)
	}
	f.fresh = true
	f.gap(r)
	last := f.at.Seqnum
	if err := f.file.seek(func(s stamp) bool { return s.seqnum > last }); err != nil || b.Since.IsZero() {
		return err
	}
	old, err := f.file.skipWhile(b.old)
	if err != nil {
		return err
	}
	if old > 0 {
		r.Old += old
		f.at.Seqnum = max(last, f.file.before())
	}
	return nil
}

// gap counts the numbers that are missing before a file, as soon as the file has an entry.
func (f *Follower) gap(r *Report) {
	if h := f.file.header; f.fresh && h.entries > 0 {
		f.fresh = false
		if h.head > f.at.Seqnum+1 {
			r.Vanished += h.head - f.at.Seqnum - 1
			f.at.Seqnum = h.head - 1
		}
	}
}

// recent passes the recent entries, which show the present state, and moves to the end.
func (f *Follower) recent(b Bounds, each func(Entry, bool)) error {
	h, since := f.file.header, micros(b.Recent)
	f.at, f.fresh = Cursor{h.seqnumID, h.tail}, false
	if b.Recent.IsZero() || h.tailRealtime < since {
		return f.file.seek(func(s stamp) bool { return s.seqnum > h.tail })
	}
	if err := f.file.seek(func(s stamp) bool { return s.realtime >= since }); err != nil {
		return err
	}
	// If there are too many, only the last ones.
	if most := uint64(max(b.Entries, 0)); h.entries-min(f.file.next.seen, h.entries) > most { //nolint:gosec // not negative
		first := h.tail - min(most, h.tail)
		if err := f.file.seek(func(s stamp) bool { return s.seqnum > first }); err != nil {
			return err
		}
	}
	for {
		e, _, err := f.file.Next(max(b.Entries, 1))
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errLimit):
			f.at.Seqnum = max(f.at.Seqnum, f.file.last)
			return nil
		case err != nil:
			return err
		}
		each(e, true)
	}
}

func micros(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 0)) } //nolint:gosec // not negative
