package repair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
)

// alone runs a test again in a process of its own, and says whether this is that
// one: the limits that it sets are the whole process's.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("METRICS_TEST_ALONE") != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "METRICS_TEST_ALONE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// limitFiles makes writing beyond n bytes of any file fail, until restore.
func limitFiles(t testing.TB, n uint64) (restore func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	restore = func() { syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old) }
	t.Cleanup(restore)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return restore
}

// putStock puts another database in place of what is at the path.
func putStock(t testing.TB, path string) {
	t.Helper()
	other := filepath.Join(t.TempDir(), "other.db")
	mustStock(t, other)
	mustEmptyLog(t, other)
	rename(t, other, path)
}

func TestErrorsOfWritingDuringASalvageCostNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if !alone(t) {
		return
	}
	for _, limit := range []uint64{3 << 10, 45 << 10, 100 << 10} {
		for _, pass := range []time.Duration{0, 100 * time.Millisecond} {
			t.Run(fmt.Sprint(limit, pass), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "metrics.db")
				mustStock(t, path)
				mustEmptyLog(t, path)
				overwrite(t, path, size(t, path)/3/store.PageSize*store.PageSize, []byte(strings.Repeat("\xa5\x5a\x17\xe1", 2560)))
				want := readableOf(t, path)
				var log strings.Builder
				db := notYet(t, path, &log)
				restore := limitFiles(t, limit)
				if pass > 0 {
					time.AfterFunc(pass, restore)
				}
				err := db.Mend(t.Context())
				if pass == 0 && err == nil {
					t.Error("the new file was written beyond the limit")
				}
				restore()
				for range 5 {
					if err != nil {
						err = db.Mend(t.Context())
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if l := mustAudit(t, db); l != want {
					t.Errorf("%+v, on a sound disk %+v\n%s", l, want, log.String())
				}
			})
		}
	}
}

func TestADeletedDatabaseIsWrittenAgainWhenThereIsRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if !alone(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	var log strings.Builder
	db := mustOwn(t, path, &log)
	before := mustAudit(t, db)
	mustRemove(t, path, path+"-wal", path+"-shm")
	restore := limitFiles(t, 100<<10)
	for range 3 {
		if err := db.Mend(t.Context()); err == nil {
			t.Error("written beyond the limit")
		}
	}
	restore()
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l != before {
		t.Errorf("%+v, before %+v\n%s", l, before, log.String())
	}
	// When it never can be, what was in it is counted.
	mustRemove(t, path, path+"-wal", path+"-shm")
	limitFiles(t, 100<<10)
	var err error
	for range rescueTries + 1 {
		err = db.Mend(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Lost-before.Lost != before.Pending+before.Held {
		t.Errorf("%+v, before %+v\n%s", l, before, log.String())
	}
}

func TestAWALThatIsDeletedUnderAReaderIsAwaitedOrCounted(t *testing.T) {
	for _, ends := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "metrics.db")
		var log strings.Builder
		db := mustOwn(t, path, &log)
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
		if _, err := db.Checkpoint(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		end := sqltest.Read(t, path)
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(2000, 30)}}})
		mustRemove(t, path+"-wal")
		for range 3 {
			if err := db.Mend(t.Context()); !errors.Is(err, store.ErrWALInUse) {
				t.Errorf("with a reader in the log: %v", err)
			}
		}
		want := store.Ledger{Captured: 50, Pending: 50}
		if ends {
			end()
		} else {
			want = store.Ledger{Captured: 50, Pending: 20, Lost: 30}
		}
		var err error
		for range 4 * rescueTries {
			if err = db.Mend(t.Context()); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if l := mustAudit(t, db); l != want {
			t.Errorf("ends %v: %+v, want %+v\n%s", ends, l, want, log.String())
		}
		if !ends {
			end()
		}
	}
}

func TestAFileThatComesWhileADeletedOneIsRescuedIsKeptApartFromIt(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	for i := range int64(50) {
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000+i, 10)}}})
	}
	end := keepReading(t, db)
	mustRemove(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := db.Mend(ctx); err == nil {
		t.Error("mended with a connection to the old file")
	}
	putStock(t, path)
	end()
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != stockedTotal+500 || l.Lost != 500 {
		t.Errorf("%+v\n%s", l, log.String())
	}
	kept, err := Kept(path)
	if err != nil || len(kept) == 0 {
		t.Errorf("the rescued file is not kept: %v, %v", kept, err)
	}
	mustWork(t, db)
}
