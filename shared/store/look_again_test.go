package store

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
)

// A device that fails to read for a moment looks like damage to another process.
func TestASoundDatabaseThatSomebodyCalledDamagedIsUsedOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	shipper := mustOpen(t, path)
	before := mustAudit(t, shipper)
	var log strings.Builder
	owner := New(path, Options{Device: "board-1", Owner: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer owner.Close()
	for i := range acquittals + 1 {
		if err := shipper.WantRepair(t.Context(), "metrics-shipper", errCheck); err != nil {
			t.Fatal(err)
		}
		owner.gate.close(errNotOpen)
		if err := owner.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := owner.RepairWanted(t.Context()); err != nil {
			t.Errorf("still wanted: %v", err)
		}
		kept, err := Aside(path)
		if err != nil {
			t.Fatal(err)
		}
		if anew := i == acquittals; anew != (len(kept) == 1) || anew != strings.Contains(log.String(), "salvaged") {
			t.Errorf("after %d times, set aside: %v\n%s", i+1, kept, log.String())
		}
		if err := shipper.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "finds none; it is used on"); n != acquittals {
		t.Errorf("said %d times that it is used on:\n%s", n, log.String())
	}
	if after := mustAudit(t, owner); after != before {
		t.Errorf("%+v, want %+v", after, before)
	}
	mustWork(t, owner)
}

func TestWhatStaysInAReplacedFileIsCountedHoweverLongTheNextTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(1000, 20)}}})
	newer := filepath.Join(t.TempDir(), "newer.db")
	mustStock(t, newer)
	mustExec(t, newer, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later'); PRAGMA wal_checkpoint(TRUNCATE)")
	rename(t, newer, path)
	if err := db.Mend(t.Context()); !errors.Is(err, ErrNewerSchema) {
		t.Fatalf("%v, want %v", err, ErrNewerSchema)
	}
	mustRemove(t, path)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != 20 || l.Lost != 20 {
		t.Errorf("%+v, want 20 lost\n%s", l, log.String())
	}
	mustWork(t, db)
}
