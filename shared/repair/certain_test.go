package repair

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"

	"github.com/taniwha3/thugshells/shared/store"
)

// A device that fails to read for a moment looks like damage to another process.
func TestASoundDatabaseThatWasReportedAsDamagedStaysInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	shipper := mustOpen(t, path)
	before := mustAudit(t, shipper)
	var log strings.Builder
	owner := notYet(t, path, &log)
	for i := range clearedLimit + 1 {
		if err := shipper.RequestRepair(t.Context(), "metrics-shipper", store.ErrDamaged); err != nil {
			t.Fatal(err)
		}
		owner.SetFault(errors.New("to be opened"))
		if err := owner.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if met, err := owner.RequestedRepair(t.Context()); met != "" || err != nil {
			t.Errorf("still wanted: %q, %v", met, err)
		}
		kept, err := Kept(path)
		if err != nil {
			t.Fatal(err)
		}
		if again := i == clearedLimit; again != (len(kept) == 1) || again != strings.Contains(log.String(), "salvaged") {
			t.Errorf("after %d times, kept: %v\n%s", i+1, kept, log.String())
		}
		if err := shipper.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "the full integrity check passed; the database stays in use"); n != clearedLimit {
		t.Errorf("said %d times that it is used on:\n%s", n, log.String())
	}
	if after := mustAudit(t, owner); after != before {
		t.Errorf("%+v, want %+v", after, before)
	}
	mustWork(t, owner)
}

func TestASoundDatabaseIsNotReplacedByAPartOfIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	var log strings.Builder
	db := mustOwn(t, path, &log)
	before := mustAudit(t, db)
	db.owner.keepFree = 1 << 50 // as on a disk that is nearly full
	for range 3 * clearedLimit {
		db.Observe(fmt.Errorf("%w: a page that the card gave wrongly once", store.ErrDamaged))
		if err := db.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l := mustAudit(t, db); l != before {
		t.Errorf("%+v, want %+v\n%s", l, before, log.String())
	}
	mustWork(t, db)
}

func TestOtherErrorsAfterDamageDoNotKeepASoundDatabaseClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	db := mustOwn(t, path, &strings.Builder{})
	before := mustAudit(t, db)
	for range 2 * clearedLimit {
		for range 2 {
			db.Observe(fmt.Errorf("%w: a page that the card gave wrongly once", store.ErrDamaged))
		}
		db.Observe(sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite})
		if err := db.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l := mustAudit(t, db); l != before {
		t.Errorf("%+v, want %+v", l, before)
	}
}
