// Package salvage copies the readable rows of a damaged database into a new one.
//
// It reads the damaged file page by page, without SQLite: a row is found if its
// own page is intact, even if the pages that lead to it are lost. The package has
// no policy and no state: a file goes in, a file and a report come out. Start at
// Run. A new table has to be added to rows.go.
//
//	salvage.go              Run: the steps, the limits, the report
//	device.go, wal.go       bytes of the file, frames of the WAL
//	pages.go, free.go       which pages there are, which of them are unused
//	page.go, record.go      cells of a page, columns of a record
//	rows.go                 our tables: which of their rows a record can be
//	scan.go, doubt.go       the rows of a page, and of a damaged page
//	survey.go               the first reading: small tables, where the samples are
//	samples.go, names.go    the second: samples; then series whose rows are lost
//	older.go                files of schema 1 and 2
//	ledger.go               the ledger of the new file
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

// Known is what the caller knows in addition to what is in the damaged file.
type Known struct {
	Device   string         // device_id for rows of early schemas that have none
	Series   []store.Series // that this process remembers, for those whose pages are lost
	Limit    time.Duration  // after which the rest is left out; 0: no limit
	KeepFree int64          // bytes to leave free on the filesystem of the new file
	Nothing  bool           // copy nothing: an earlier salvage of the file was not usable
	// Note returns the status row that reports the damage. It is written in the
	// transaction that completes the new file; nil: no row is written.
	Note func(Report) status.Row
}

// A Report is what became of a damaged file.
type Report struct {
	At         time.Time // when the salvage began
	Samples    int64     // in the new file
	Lost       *int64    // samples of the old file that are not in the new one; nil: unknown
	Halted     string    // why it ended early, "": it did not
	Schema     int       // of the damaged file, 0: it has none of our rows
	Pages      int64     // of the damaged file and its WAL
	Unreadable int64     // pages that the device could not read in three tries
	Broken     int64     // pages that should be those of a table and make no sense
	BehindWAL  int64     // frames of the WAL that were used although they lie behind a broken one
	Unnamed    int64     // series whose samples were found and whose names are lost
}

// Run copies the readable rows of the database at from, and of its WAL, into a new
// file at to. If a limit is reached, the newest samples are in it. The old file is
// not changed; no other process may have it open for writing. The new file is
// complete and closed, but not yet synced; after an error there is none.
//
// Run fails with store.ErrNewerSchema for a file of a newer program, and with the
// error of SQLite if the new file cannot be written.
func Run(ctx context.Context, from, to string, known Known) (report Report, err error) {
	file, closeFile, err := openDevice(from)
	if err != nil {
		return report, fmt.Errorf("open the damaged database: %w", err)
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	walFile, closeWAL, err := openDevice(from + "-wal")
	if err != nil {
		return report, fmt.Errorf("open the damaged database: %w", err)
	}
	defer func() { err = errors.Join(err, closeWAL()) }()
	return run(ctx, file, walFile, to, known)
}

// A salvage is one run.
type salvage struct {
	ctx    context.Context // of this run
	known  Known
	to     string
	until  time.Time
	pages  *pages
	scan   *scanner
	into   *writer
	found  survey
	report Report

	chunk   []byte                 // pages that are being copied
	rows    []sample               // the samples in them
	written [store.Local + 1]int64 // samples by state
	unnamed map[int64]bool         // series whose names are lost
}

func run(ctx context.Context, file, walFile *device, to string, known Known) (_ Report, err error) {
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
	s.pages = newPages(file, walFile)
	s.scan = &scanner{pages: s.pages}
	if err := create(ctx, to, known.Device); err != nil {
		return s.report, err
	}
	if err := s.copy(file.size + walFile.size); err != nil {
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
		if err := s.copySmallTables(); err != nil {
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

// present copies the series and samples of a file of the present schema.
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

// unlessFull makes a full disk end the copying without an error.
func (s *salvage) unlessFull(err error) error {
	if !isFull(err) {
		return err
	}
	s.report.Halted = "the disk is full"
	return nil
}

// halt says whether a limit is reached.
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

// count completes the report on the pages.
func (s *salvage) count() {
	s.report.Pages = int64(s.pages.count)
	s.report.Unreadable = s.pages.unread.count() + s.pages.wal.unread
}
