package repair

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatGoesAwayWhileItIsOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, path string)
		says string
		// what is there afterwards, of 30 pending samples
		pending, lost int64
	}{
		{"deleted", func(t *testing.T, p string) { mustRemove(t, p) }, "deleted while it was open", 30, 0},
		{"deleted with its log", func(t *testing.T, p string) { mustRemove(t, p, p+"-wal", p+"-shm") }, "deleted while it was open", 30, 0},
		{"moved away", func(t *testing.T, p string) { rename(t, p, p+".old") }, "deleted while it was open", 30, 0},
		{"only the log deleted", func(t *testing.T, p string) { mustRemove(t, p+"-wal") }, "log was deleted", 30, 0},
		{"the log and its index deleted", func(t *testing.T, p string) { mustRemove(t, p+"-wal", p+"-shm") }, "log was deleted", 30, 0},
		{"replaced by another of ours", func(t *testing.T, p string) {
			other := mustOpen(t, filepath.Join(t.TempDir(), "other.db"))
			mustRecord(t, other, store.Update{Groups: []store.Group{{Samples: tick(77, 7)}}})
			if _, err := other.Checkpoint(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			copyPart(t, other.Path(), p+".new")
			rename(t, p+".new", p)
		}, "another file was put in place", 7, 30},
		{"replaced by an empty file", func(t *testing.T, p string) {
			mustRemove(t, p)
			if err := os.WriteFile(p, nil, 0o640); err != nil {
				t.Fatal(err)
			}
		}, "another file was put in place", 0, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			var log strings.Builder
			db := mustOwn(t, path, &log)
			if err := db.StartSession(t.Context(), store.Session{ID: "s-1", Start: time.UnixMilli(1)}); err != nil {
				t.Fatal(err)
			}
			mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
			if _, err := db.Checkpoint(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(2000, 10)}}})
			if err := db.Fault(); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.do(t, path)
			fault := db.Fault()
			if fault == nil || !strings.Contains(fault.Error(), c.says) {
				t.Errorf("fault %v, want %q", fault, c.says)
			}
			if err := db.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.Fault(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if l := mustAudit(t, db); l.Pending != c.pending || l.Lost != c.lost || l.Captured != c.pending+c.lost {
				t.Errorf("%+v, want %d pending and %d lost\n%s", l, c.pending, c.lost, log.String())
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("does not say %q:\n%s", c.says, log.String())
			}
			mustWork(t, db)
			var status string
			if err := query(t, db.Path(), "SELECT status FROM sessions WHERE id = 's-1'").Scan(&status); err != nil || status != "active" {
				t.Errorf("the session goes on as %q, %v", status, err)
			}
			// All of it is at the path, for a process that opens it now.
			again, err := store.OpenReader(t.Context(), path, store.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if l, err := storetest.Audit(t.Context(), again); err != nil || l.Captured != c.pending+c.lost+5 {
				t.Errorf("another process sees %+v, %v", l, err)
			}
		})
	}
}

func TestAnotherWriterWaitsForTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	owner := mustOwn(t, path, &log)
	mustRecord(t, owner, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	shipper := mustOpen(t, path)
	mustRemove(t, path, path+"-wal", path+"-shm")
	if err := shipper.Mend(t.Context()); err == nil || !strings.Contains(err.Error(), "the collector") {
		t.Errorf("the shipper did not wait: %v", err)
	}
	if _, err := storetest.Newest(t.Context(), shipper, 10); err == nil {
		t.Error("the shipper reads a file that no other process has open")
	}
	if err := owner.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := shipper.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := storetest.Newest(t.Context(), shipper, 100)
	if err != nil || len(rows) != 20 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if n, err := shipper.Acknowledge(t.Context(), rows, store.Receipt{BatchID: "b"}, store.Update{}); n != 20 || err != nil {
		t.Error(n, err)
	}
	if l := mustAudit(t, owner); l.Delivered != 20 || l.Pending != 0 {
		t.Errorf("the owner sees %+v", l)
	}
}

// The owner writes at the end of the tables, the shipper reads all of them.
func TestDamageThatOnlyTheShipperMeetsIsRepairedByTheCollector(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	mustEmptyLog(t, path)
	for at := size(t, path) / 3 / store.PageSize * store.PageSize; at < size(t, path)/2; at += store.PageSize {
		overwrite(t, path, at, []byte(strings.Repeat("\xff", store.PageSize)))
	}
	shipper := mustOpen(t, path)
	var met error
	for range 10 {
		rows, err := storetest.Newest(t.Context(), shipper, stockedTotal)
		if err != nil {
			met = err
			break
		}
		if _, err := shipper.Acknowledge(t.Context(), rows, store.Receipt{BatchID: "b"}, store.Update{}); err != nil {
			met = err
			break
		}
	}
	if !isDamage(met) {
		t.Fatalf("the damage was not met: %v", met)
	}
	if shipper.Fault() == nil {
		t.Error("the shipper goes on as if nothing was")
	}
	if err := shipper.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := shipper.RequestRepair(t.Context(), "metrics-shipper", met); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	owner := notYet(t, path, &log)
	if err := owner.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "salvaged") {
		t.Errorf("not repaired:\n%s", log.String())
	}
	if met, err := owner.RequestedRepair(t.Context()); met != "" || err != nil {
		t.Errorf("still wanted: %q, %v", met, err)
	}
	if err := shipper.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAudit(t, owner)
	mustWork(t, owner)
	if rows, err := storetest.Newest(t.Context(), shipper, stockedTotal); err != nil || len(rows) == 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestARepairUnderLoadLosesNoReportedRow(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var stored atomic.Int64
	for w := range 3 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// Errors are fine, rows in the wrong place are not.
				if n, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(int64(i*3+w), 2)}}}); err == nil {
					stored.Add(int64(n))
				}
				if _, err := storetest.Newest(t.Context(), db, 5); err != nil && errors.Is(err, sql.ErrNoRows) {
					t.Error(err)
				}
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	for range 20 {
		rename(t, path, fmt.Sprint(path, ".", time.Now().UnixNano()))
		if err := db.Mend(t.Context()); err != nil {
			t.Error(err)
		}
		for before := stored.Load(); stored.Load() == before && t.Context().Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	all.Wait()
	// What was acknowledged between the renaming and the mending is in the file
	// that was renamed, and comes back with it.
	if l := mustAudit(t, db); l.Captured != stored.Load() {
		t.Errorf("%d samples were stored, and there are %+v\n%s", stored.Load(), l, log.String())
	}
	mustWork(t, db)
}
