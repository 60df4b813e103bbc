package repair

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
)

func TestAnotherWriterMakesNoDatabaseWhileOneIsPutInPlace(t *testing.T) {
	for _, suffix := range []string{salvagedSuffix, unfinishedSuffix} {
		path := filepath.Join(t.TempDir(), "metrics.db")
		mustStock(t, path)
		mustEmptyLog(t, path)
		// As a power cut leaves it between the two renames.
		copyPart(t, path, path+suffix)
		if err := keepDamaged(path, keptName(path, time.Now()), parts[:]...); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // it waits for the collector
		defer cancel()
		if other, err := Open(ctx, path, store.Options{Device: "board-1"}, discard()); err == nil || !strings.Contains(err.Error(), "the collector") {
			t.Errorf("%s: opened, %v", suffix, err)
			other.Close()
		}
		owner := notYet(t, path, io.Discard)
		if err := owner.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := mustAudit(t, owner); suffix == salvagedSuffix && l.Captured != stockedTotal {
			t.Errorf("%+v", l)
		}
		owner.Close()
	}
}

func TestAFileThatComesBackIsNotCountedAsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	rename(t, path, path+".away")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := db.Mend(t.Context()); !errors.Is(err, store.ErrNotFile) {
		t.Fatal(err)
	}
	mustRemove(t, path)
	rename(t, path+".away", path)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l != (store.Ledger{Captured: 20, Pending: 20}) {
		t.Errorf("%+v\n%s", l, log.String())
	}
}

func TestSamplesBehindAReaderInAReplacedFileAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	end := sqltest.Read(t, path)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(2000, 30)}}})
	rename(t, path, path+".away")
	putStock(t, path)
	var err error
	for range 2 * rescueTries {
		if err = db.Mend(t.Context()); err == nil {
			break
		}
	}
	end()
	if err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != stockedTotal+50 || l.Lost != 50 {
		t.Errorf("%+v\n%s", l, log.String())
	}
}

func TestAReplacedFileIsKeptSeparateHoweverOftenTheRepairIsInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	for i := range int64(50) {
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000+i, 10)}}})
	}
	end := keepReading(t, db)
	putStock(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.Mend(ctx); err == nil {
		t.Error("mended with a connection to the old file")
	}
	end()
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != stockedTotal+500 || l.Lost != 500 {
		t.Errorf("%+v\n%s", l, log.String())
	}
	mustWork(t, db)
}
