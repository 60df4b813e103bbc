// Package salvage copies what can be read of a damaged database into a new one.
//
// It takes the pages of the damaged file apart itself, one by one, and never
// asks SQLite for them: a row is found if its own page is intact, whatever became
// of the pages that lead to it. The package has no policy and no state: a file
// goes in, a file and a report come out.
package salvage

import (
	"context"
	"errors"
	"time"

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
	Broken     int64     // pages that begin like one of a table and are none
	BehindWAL  int64     // frames that were used although one before them in the WAL is broken
	Unnamed    int64     // series whose names are lost, but not their samples
}

// Run copies what can be read of the database from, with its WAL, into a new
// file to: the newest samples first, within the limits. It never writes to the
// old file. It leaves a file to that is complete and closed, or fails and leaves
// none; a caller that wants the file to survive a power cut has to sync it. No
// other process may have from open for writing.
//
// It fails with store.ErrNewerSchema for a file of a newer program, and with an
// error of the device when the new file cannot be written.
func Run(ctx context.Context, from, to string, known Known) (Report, error) {
	return Report{}, errors.New("not built yet")
}
