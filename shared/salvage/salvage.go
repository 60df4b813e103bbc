// Package salvage copies what can be read of a damaged database into a new one.
//
// It takes the pages of the damaged file apart itself, one by one, and never
// asks SQLite for them: a row is found if its own page is intact, even if the
// pages that lead to it are lost. The package has no policy and no state: a file
// goes in, a file and a report come out. Start at Run; rows.go has the list of
// tables, to which a new table has to be added.
package salvage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// Known is what the caller knows besides what is in the damaged file.
type Known struct {
	Device   string         // device_id of rows of early schemas that have none
	Series   []store.Series // identities this process remembers; for those whose pages are lost
	Limit    time.Duration  // when it is over, the rest is left; 0: no limit
	KeepFree int64          // bytes to leave free on the new file's filesystem
	Nothing  bool           // copy nothing: what was salvaged before was not good
	// Note returns the status row that tells of the damage. It is written in the
	// transaction that completes the new file; nil: none is.
	Note func(Report) status.Row
}

// A Report is what became of a damaged file.
type Report struct {
	At         time.Time // when the salvage began
	Samples    int64     // in the new file
	Lost       *int64    // samples that were in the old one and are not in the new; nil: nobody knows
	Halted     string    // why it ended early, "": it did not
	Schema     int       // of the damaged file, 0: there was no row of ours
	Pages      int64     // of the damaged file and its WAL
	Unreadable int64     // pages that the device could not read in three tries
	Broken     int64     // pages that should be those of a table and make no sense
	BehindWAL  int64     // frames that were used although one before them in the WAL is broken
	Unnamed    int64     // series whose names are lost, but not their samples
}

// Run copies what can be read of the database from, with its WAL, into a new
// file to: the newest samples first, within the limits. It never writes to the
// old file. It leaves a file to that is complete and closed, or fails and leaves
// none; a caller that wants the file to survive a power cut has to sync it. No
// other process may have from open for writing.
//
// It fails with store.ErrNewerSchema for a file of a newer program, and with the
// error of SQLite when the new file cannot be written.
func Run(ctx context.Context, from, to string, known Known) (report Report, err error) {
	file, closeFile, err := openDevice(from)
	if err != nil {
		return report, fmt.Errorf("open the damaged database: %w", err)
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	log, closeLog, err := openDevice(from + "-wal")
	if err != nil {
		return report, fmt.Errorf("open the damaged database: %w", err)
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	return run(ctx, file, log, to, known)
}

// A salvage is one way from a damaged file to a new one.
type salvage struct {
	ctx    context.Context // of one salvage
	known  Known
	to     string
	until  time.Time
	pages  *pages
	scan   *scanner
	into   *writer
	found  survey
	report Report

	chunk   []byte   // pages that are being copied
	rows    []sample // the samples in them
	offered [store.Local + 1]int64
	unnamed map[int64]bool // series whose names are lost
}

func run(ctx context.Context, file, log *device, to string, known Known) (_ Report, err error) {
	s := &salvage{ctx: ctx, known: known, to: to, report: Report{At: time.Now()}}
	if known.Limit > 0 {
		s.until = s.report.At.Add(known.Limit)
	}
	if err := remove(to); err != nil {
		return s.report, writing(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(to))
		}
	}()
	s.pages = newPages(file, log)
	s.scan = &scanner{pages: s.pages}
	if err := create(ctx, to, known.Device); err != nil {
		return s.report, err
	}
	if err := s.copy(file.size + log.size); err != nil {
		return s.report, err
	}
	return s.report, nil
}

// copy fills the new file.
func (s *salvage) copy(size int64) (err error) {
	if s.into, err = newWriter(s.ctx, s.to); err != nil {
		return err
	}
	defer func() {
		if s.into != nil {
			err = errors.Join(err, s.into.close())
		}
	}()
	if !s.known.Nothing {
		if err := s.small(); err != nil {
			return err
		}
		switch {
		case s.found.version > store.SchemaVersion:
			return fmt.Errorf("%w (schema %d, this program knows %d)", store.ErrNewerSchema, s.found.version, store.SchemaVersion)
		case s.found.isOlder():
			err = s.older()
		default:
			err = s.present()
		}
		if err != nil {
			return err
		}
	}
	s.count()
	return s.into.transact(func() error { return s.closeLedger(size) })
}

// present copies the samples of a file of the present schema.
func (s *salvage) present() error {
	if s.found.present == 0 && len(s.found.order) == 0 {
		return nil
	}
	s.report.Schema = store.SchemaVersion
	if err := s.unlessFull(s.into.transact(s.names)); err != nil {
		return err
	}
	if err := s.samples(); err != nil {
		return err
	}
	return s.unlessFull(s.into.transact(s.nameTheRest))
}

// unlessFull makes a full disk the end of copying, and no error.
func (s *salvage) unlessFull(err error) error {
	if !isFull(err) {
		return err
	}
	s.report.Halted = "the disk is full"
	return nil
}

// halt says whether no more is to be copied.
func (s *salvage) halt() bool {
	if s.report.Halted != "" {
		return true
	}
	if !s.until.IsZero() && time.Now().After(s.until) {
		s.report.Halted = fmt.Sprintf("it took longer than %s", s.known.Limit)
	} else if free, err := hostfs.FreeBytes(s.to); err == nil && free < s.known.KeepFree {
		s.report.Halted = "the disk is nearly full"
	}
	return s.report.Halted != ""
}

// count takes over what the pages were found to be.
func (s *salvage) count() {
	s.report.Pages = int64(s.pages.count)
	s.report.Unreadable = s.pages.unread.count() + s.pages.wal.unread
}
