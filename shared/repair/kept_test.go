package repair

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
)

// Wherever a repair ends, the next start goes on from there.
func TestAnInterruptedRepairIsContinued(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, c := range []struct {
		name    string
		between func(t *testing.T, path string) // what the power cut left
		again   bool                            // the file is salvaged again
	}{
		{"in the middle of salvaging", func(t *testing.T, p string) {
			if err := os.WriteFile(p+unfinishedSuffix, []byte("SQLite format 3\x00 and no more"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"complete, the damaged file not yet renamed", func(t *testing.T, p string) { makeSalvaged(t, p) }, true},
		{"the damaged file renamed, the new one not yet in place", func(t *testing.T, p string) {
			makeSalvaged(t, p)
			if err := keepDamaged(p, keptName(p, time.Now()), parts[:]...); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the damaged file renamed without its WAL", func(t *testing.T, p string) {
			makeSalvaged(t, p)
			if err := keepDamaged(p, keptName(p, time.Now()), ""); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			mustStock(t, path)
			overwrite(t, path, size(t, path)/2/store.PageSize*store.PageSize, make([]byte, 10*store.PageSize))
			c.between(t, path)
			var log strings.Builder
			db := mustOwn(t, path, &log)
			if l := mustAudit(t, db); l.Captured != stockedTotal || l.Pending+l.Delivered < stockedTotal/2 {
				t.Errorf("%+v\n%s", l, log.String())
			}
			if got := strings.Contains(log.String(), "was salvaged"); got != c.again {
				t.Errorf("salvaged again: %v, want %v\n%s", got, c.again, log.String())
			}
			mustWork(t, db)
			if kept, err := Kept(path); err != nil || len(kept) == 0 {
				t.Errorf("kept %v, %v", kept, err)
			}
			for _, suffix := range []string{unfinishedSuffix, salvagedSuffix, unfinishedSuffix + "-old"} {
				if _, err := os.Stat(path + suffix); err == nil {
					t.Errorf("%s is still there", suffix)
				}
			}
		})
	}
}

// makeSalvaged leaves what a salvage leaves before the damaged file is renamed.
func makeSalvaged(t *testing.T, path string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(path), "elsewhere")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, filepath.Base(path))
	for _, part := range parts {
		copyPart(t, path+part, other+part)
	}
	var log strings.Builder
	db := mustOwn(t, other, &log)
	sqltest.Exec(t, other, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	rename(t, other, path+salvagedSuffix)
}

func TestOnlyTheNewestDamagedFilesAreKept(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	var first string
	for i := range maxKept + 2 {
		mustStock(t, path)
		overwrite(t, path, size(t, path)/2/store.PageSize*store.PageSize, make([]byte, 10*store.PageSize))
		var log strings.Builder
		db := mustOwn(t, path, &log)
		kept, err := Kept(path)
		if err != nil || len(kept) != min(i+1, maxKept) {
			t.Errorf("after %d repairs %v, %v", i+1, kept, err)
		}
		if first == "" {
			first = kept[0]
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		mustRemove(t, path, path+"-wal", path+"-shm")
	}
	if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first is still there: %v", err)
	}
}

func TestASalvagedFileThatIsNotNeededIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	mustEmptyLog(t, path)
	copyPart(t, path, path+salvagedSuffix)
	mustOwn(t, path, &strings.Builder{})
	kept, err := Kept(path)
	if err != nil || len(kept) != 1 || size(t, kept[0]) != size(t, path) {
		t.Errorf("kept %v, %v", kept, err)
	}
}

// readableOf is how many samples a salvage of the file gets on a sound disk.
func readableOf(t testing.TB, path string) store.Ledger {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, part := range parts {
		copyPart(t, path+part, copied+part)
	}
	return mustAudit(t, mustOwn(t, copied, &strings.Builder{}))
}
