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
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// stocked is what a board has after a while: samples in every state, receipts,
// rows in the file and rows that are only in its WAL.
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

// filesOf returns the files of a database that fill filled and left open, nil for one
// that it does not have.
func filesOf(fill func(ctx context.Context, db *store.DB) error) (files [len(parts)][]byte, err error) {
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
	if err == nil {
		err = fill(ctx, db)
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
}

// stock returns the files of the stocked database, made once.
var stock = sync.OnceValues(func() (files [len(parts)][]byte, err error) {
	return filesOf(func(ctx context.Context, db *store.DB) (err error) {
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
		return err
	})
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
		t.Errorf("the ledger does not balance: %v", err)
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

// mustEmptyLog moves the WAL into the file.
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

// listing is the names, kinds and contents beside path, except what SQLite
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
