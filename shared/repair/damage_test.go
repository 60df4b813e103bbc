package repair

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// stocked is what a board has after a while: samples in every state, receipts,
// rows in the file and rows that are only in its log.
const (
	stockedTicks  = 400
	stockedSeries = 20
	stockedTotal  = stockedTicks*stockedSeries + stockedSeries
)

// mustStock makes such a database at path and leaves it as a kill would: not
// closed by its writer, but with no lock of ours on it.
func mustStock(t testing.TB, path string) {
	t.Helper()
	files, err := stock()
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range parts {
		if files[i] == nil {
			continue
		}
		if err := os.WriteFile(path+part, files[i], 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// stock returns the files of the stocked database, made once.
var stock = sync.OnceValues(func() (files [len(parts)][]byte, err error) {
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		return files, err
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "stock.db")
	db, err := store.Open(ctx, path, store.Options{Device: "board-1", Synchronous: "NORMAL"})
	if err != nil {
		return files, err
	}
	defer db.Close()
	err = db.StartSession(ctx, store.Session{ID: "s-1", Start: time.UnixMilli(1), Metadata: map[string]string{"boot_id": "b"}})
	for i := 0; i < stockedTicks && err == nil; i++ {
		_, err = db.Record(ctx, store.Update{
			Groups:   []store.Group{{Priority: i % 4, Samples: tick(int64(1_700_000_000_000+i*10_000), stockedSeries)}},
			Counters: []metric.Count{{Name: "c", Value: float64(i)}},
			Status:   []status.Row{{Component: "collector", Daemon: "metrics-collector", State: status.Running}},
		})
		switch {
		case err != nil:
		case i == stockedTicks/2:
			var rows []store.Row
			if rows, err = storetest.Newest(ctx, db, stockedTotal/4); err == nil {
				_, err = db.Acknowledge(ctx, rows, store.Receipt{BatchID: "x"}, store.Update{})
			}
		case i == stockedTicks*3/4:
			_, err = db.Checkpoint(ctx, 0)
		}
	}
	if err == nil {
		_, err = db.Record(ctx, store.Update{HoldAll: true, Groups: []store.Group{{Priority: 2, Samples: tick(5000, stockedSeries)}}})
	}
	for i, part := range parts {
		if err != nil {
			return files, err
		}
		if files[i], err = os.ReadFile(path + part); os.IsNotExist(err) {
			files[i], err = nil, nil
		}
	}
	return files, err
})

func copyPart(t testing.TB, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, f); err != nil {
		t.Fatal(err)
	}
}

// mustAudit fails unless captured = delivered + pending + held + rejected +
// local + lost, with the rows counted.
func mustAudit(t testing.TB, db *owned) store.Ledger {
	t.Helper()
	l, err := storetest.Audit(t.Context(), db)
	if err != nil {
		t.Errorf("the books do not balance: %v", err)
	}
	return l
}

// overwrite changes what is in a file as a failing device does, which leaves its
// times as they are.
func overwrite(t testing.TB, path string, at int64, data []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	writeAt(t, path, at, data)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func writeAt(t testing.TB, path string, at int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func mustRemove(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedDatabaseIsRepairedOrLeftAlone(t *testing.T) {
	garbage := []byte(strings.Repeat("\xa5\x5a\x17\xe1", 256))
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		atLeast,
		atMost int // samples that are there afterwards, of stockedTotal
		aside int // files that are kept
		says  string
	}{
		{"nothing", func(*testing.T, string) {}, stockedTotal, stockedTotal, 0, ""},
		{"no -shm", func(t *testing.T, p string) { mustRemove(t, p+"-shm") }, stockedTotal, stockedTotal, 0, ""},
		{"garbage -shm", func(t *testing.T, p string) { overwrite(t, p+"-shm", 0, garbage) }, stockedTotal, stockedTotal, 0, ""},
		{"no -wal", func(t *testing.T, p string) { mustRemove(t, p+"-wal") }, stockedTotal / 2, stockedTotal * 4 / 5, 0, ""},
		{"garbage -wal", func(t *testing.T, p string) { overwrite(t, p+"-wal", 0, garbage) }, stockedTotal / 2, stockedTotal * 4 / 5, 1, "write-ahead log is damaged"},
		{"flipped bit in the first frame of -wal", func(t *testing.T, p string) { overwrite(t, p+"-wal", walHeader+frameHeader+100, []byte{0xff}) }, stockedTotal / 2, stockedTotal * 4 / 5, 1, "write-ahead log is damaged"},
		{"a page in the middle", func(t *testing.T, p string) { overwrite(t, p, size(t, p)/2/store.PageSize*store.PageSize, garbage) }, stockedTotal * 9 / 10, stockedTotal - 1, 1, "salvaged"},
		{"ten pages in the middle", func(t *testing.T, p string) {
			for i := range int64(10) {
				overwrite(t, p, (size(t, p)/20*(i+5))/store.PageSize*store.PageSize, garbage)
			}
		}, stockedTotal / 2, stockedTotal - 1, 1, "salvaged"},
		{"zeros in the middle", func(t *testing.T, p string) {
			overwrite(t, p, size(t, p)/2/store.PageSize*store.PageSize, make([]byte, 10*store.PageSize))
		}, stockedTotal / 2, stockedTotal - 1, 1, "salvaged"},
		{"header of zeros", func(t *testing.T, p string) {
			mustEmptyLog(t, p)
			overwrite(t, p, 0, make([]byte, 100))
		}, stockedTotal, stockedTotal, 1, "salvaged"},
		{"first page of garbage", func(t *testing.T, p string) {
			mustEmptyLog(t, p)
			overwrite(t, p, 0, garbage)
		}, stockedTotal, stockedTotal, 1, "salvaged"},
		{"cut in half", func(t *testing.T, p string) { mustTruncate(t, p, size(t, p)/2) }, stockedTotal / 4, stockedTotal - 1, 1, "salvaged"},
		{"cut to an odd size", func(t *testing.T, p string) { mustTruncate(t, p, size(t, p)-store.PageSize-7) }, stockedTotal / 4, stockedTotal, -1, ""},
		{"cut to nothing", func(t *testing.T, p string) { mustTruncate(t, p, 0) }, 0, stockedTotal / 2, 1, "salvaged"},
		{"cut to nothing, log too", func(t *testing.T, p string) { mustTruncate(t, p, 0); mustTruncate(t, p+"-wal", 0) }, 0, 0, 0, ""},
		{"no database, but its log", func(t *testing.T, p string) { mustRemove(t, p) }, 0, stockedTotal / 2, 1, "salvaged"},
		{"all of garbage", func(t *testing.T, p string) {
			for at := int64(0); at < size(t, p); at += int64(len(garbage)) {
				overwrite(t, p, at, garbage)
			}
			mustRemove(t, p+"-wal")
		}, 0, 0, 1, "salvaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "metrics.db")
			mustStock(t, path)
			c.damage(t, path)
			var log strings.Builder
			db, err := own(t.Context(), path, &log)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			l := mustAudit(t, db)
			rows := 0
			if err := query(t, db.Path(), "SELECT count(*) FROM samples").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			if rows < c.atLeast || rows > c.atMost {
				t.Errorf("%d samples, want %d to %d of %d; %+v\n%s", rows, c.atLeast, c.atMost, stockedTotal, l, log.String())
			}
			if c.says == "salvaged" && rows > 0 && l.Captured != stockedTotal {
				t.Errorf("%+v: %d samples are not accounted for", l, stockedTotal-l.Captured)
			}
			kept, err := Kept(path)
			if err != nil || c.aside >= 0 && len(kept) != c.aside {
				t.Errorf("kept %v, %v; want %d", kept, err, c.aside)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("does not say %q:\n%s", c.says, log.String())
			}
			mustWork(t, db)
			if c.aside > 0 {
				all, err := db.Statuses(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				told := false
				for _, s := range all {
					told = told || s.Component == status.DamageRow && s.Error != "" && s.ErrorMs > 0
				}
				if !told {
					t.Error("nothing is left for health to read")
				}
			}
		})
	}
}

// mustWork fails unless samples go in and out.
func mustWork(t testing.TB, db *owned) {
	t.Helper()
	if n := mustRecord(t, db, store.Update{Groups: []store.Group{{Priority: 1, Samples: tick(1_800_000_000_000, 5)}}}); n != 5 {
		t.Errorf("stored %d new samples, want 5", n)
	}
	rows, err := storetest.Newest(t.Context(), db, 5)
	if err != nil || len(rows) != 5 || rows[0].TimeMs != 1_800_000_000_000 {
		t.Fatalf("%v, %v", rows, err)
	}
	if n, err := db.Acknowledge(t.Context(), rows, store.Receipt{BatchID: "y"}, store.Update{}); n != 5 || err != nil {
		t.Errorf("marked %d, %v", n, err)
	}
	mustAudit(t, db)
	var found string
	if err := query(t, db.Path(), "PRAGMA integrity_check").Scan(&found); err != nil || found != "ok" {
		t.Errorf("integrity: %s, %v", found, err)
	}
}

func mustTruncate(t testing.TB, path string, to int64) {
	t.Helper()
	if err := os.Truncate(path, to); err != nil {
		t.Fatal(err)
	}
}

// mustEmptyLog moves the log into the file.
func mustEmptyLog(t testing.TB, path string) {
	t.Helper()
	db, err := store.Open(t.Context(), path, store.Options{Device: "board-1"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := db.Checkpoint(t.Context(), 0); err != nil || c.Busy {
		t.Fatal(c, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotOursIsLeftUntouched(t *testing.T) {
	for _, c := range []struct {
		name    string
		make    func(t *testing.T, path string)
		refused bool // no use in trying again
		says    string
	}{
		{"text", func(t *testing.T, p string) {
			if err := os.WriteFile(p, []byte(strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 400)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, true, "storage.path"},
		{"newer schema", func(t *testing.T, p string) {
			mustStock(t, p)
			mustExec(t, p, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later')")
		}, true, "newer version"},
		{"newer schema, damaged", func(t *testing.T, p string) {
			mustStock(t, p)
			mustExec(t, p, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later')")
			overwrite(t, p, size(t, p)/2/store.PageSize*store.PageSize, make([]byte, 10*store.PageSize))
		}, true, "newer version"},
		{"another program's", func(t *testing.T, p string) {
			mustExec(t, p, "CREATE TABLE recipes (id INTEGER)")
		}, true, "not a metrics database"},
		{"a directory", func(t *testing.T, p string) {
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}, false, "directory"},
		{"a FIFO", func(t *testing.T, p string) {
			if err := syscall.Mkfifo(p, 0o644); err != nil {
				t.Fatal(err)
			}
		}, false, "FIFO"},
		{"a symbolic link", func(t *testing.T, p string) {
			if err := os.Symlink("elsewhere.db", p); err != nil {
				t.Fatal(err)
			}
		}, false, "symbolic link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			c.make(t, path)
			before := listing(t, path)
			db, err := own(t.Context(), path, io.Discard)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if Refused(err) != c.refused || !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused %v: %v", Refused(err), err)
			}
			if after := listing(t, path); after != before {
				t.Errorf("changed from\n%s to\n%s", before, after)
			}
		})
	}
}

// listing is the names, kinds and contents beside path, save for what SQLite
// keeps for itself.
func listing(t testing.TB, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") || strings.HasSuffix(e.Name(), "-wal") {
			continue
		}
		fmt.Fprintln(&b, e.Name(), e.Type())
		if e.Type().IsRegular() {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%d bytes, %x\n", len(data), sha256.Sum256(data))
		}
	}
	return b.String()
}

func mustExec(t testing.TB, path, query string) {
	t.Helper()
	if err := store.CreateEmpty(path); err != nil {
		t.Fatal(err)
	}
	sqltest.Exec(t, path, query)
}

// Until the first checkpoint a database is all in its log.
func TestALogWithoutItsDatabaseIsRecovered(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, kept := range []int64{0, -1} {
		dir := t.TempDir()
		work, path := filepath.Join(dir, "work.db"), filepath.Join(dir, "metrics.db")
		db := mustOpen(t, work)
		for i := range 50 {
			mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(int64(i), 10)}}})
		}
		if kept >= 0 {
			copyPart(t, work, path)
			mustTruncate(t, path, kept)
		}
		copyPart(t, work+"-wal", path+"-wal")
		got, err := own(t.Context(), path, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if l := mustAudit(t, got); l.Pending != 500 {
			t.Errorf("%+v, want 500 pending", l)
		}
		mustWork(t, got)
	}
}

func TestATransactionThatMeetsDamageTwiceHasTheFileSalvaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	var log strings.Builder
	db, err := own(t.Context(), path, &log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if c, err := db.Checkpoint(t.Context(), 0); err != nil || c.Busy {
		t.Fatal(c, err)
	}
	before := mustAudit(t, db)
	// What a failing card makes of the file: the newest
	// samples' pages, which the next transaction needs.
	for at := size(t, path) * 3 / 4 / store.PageSize * store.PageSize; at < size(t, path); at += store.PageSize {
		overwrite(t, path, at, []byte(strings.Repeat("\xff", store.PageSize)))
	}
	met := 0
	for i := range 4 {
		if db.Fault() != nil {
			if err := db.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := storetest.Newest(t.Context(), db, stockedTotal); err != nil {
			met++
		}
		if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(int64(1_750_000_000_000+i), 3)}}}); err != nil {
			met++
		}
	}
	if met == 0 {
		t.Fatal("the damage was not met")
	}
	if kept, err := Kept(path); err != nil || len(kept) != 1 {
		t.Errorf("kept %v, %v\n%s", kept, err, log.String())
	}
	after := mustAudit(t, db)
	t.Logf("%+v, then %+v", before, after)
	mustWork(t, db)
}
