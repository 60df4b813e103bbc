package repair

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

func TestAFileEmptiedWhileOpenIsSavedOrCounted(t *testing.T) {
	for _, c := range []struct {
		name      string
		do        func(t *testing.T, path string)
		rows      int64 // at least
		lost      int64 // -1: some
		says, log string
	}{
		{"the database", func(t *testing.T, p string) { mustTruncate(t, p, 0) }, 100, -1, "", "0 bytes"},
		{"the log", func(t *testing.T, p string) { mustTruncate(t, p+"-wal", 0) }, 200, 100, "went back", "cut short"},
		{"half of the log", func(t *testing.T, p string) { mustTruncate(t, p+"-wal", size(t, p+"-wal")/2) }, 200, -1, "went back", "cut short"},
		{"the end of the log", func(t *testing.T, p string) { mustTruncate(t, p+"-wal", size(t, p+"-wal")-1) }, 280, -1, "went back", "cut short"},
		{"the database and its log", func(t *testing.T, p string) { mustTruncate(t, p, 0); mustTruncate(t, p+"-wal", 0) }, 0, 200, "200 samples are lost", ""},
		{"-shm deleted", func(t *testing.T, p string) { mustRemove(t, p+"-shm") }, 300, 0, "", "-shm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			var log bytes.Buffer
			db := mustOwn(t, path, &log)
			shipper := mustOpen(t, path)
			live(t, db)
			c.do(t, path)
			// Nothing is written into what is left.
			if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(3_000_000, 10)}}}); err == nil {
				t.Error("the collector wrote on")
			}
			if _, err := shipper.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(3_000_000, 10)}}}); err == nil {
				t.Error("the shipper wrote on")
			}
			for range 3 {
				if err := db.Mend(t.Context()); err != nil {
					t.Log(err)
				}
			}
			if fault := db.Fault(); fault != nil {
				t.Fatalf("%v\n%s", fault, log.String())
			}
			l := mustAudit(t, db)
			var rows int64
			if err := query(t, path, "SELECT count(*) FROM samples").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			if l.Captured != 300 || rows < c.rows || c.lost >= 0 && l.Lost != c.lost || rows+l.Lost < 200 {
				t.Errorf("%d rows, %+v; want at least %d rows and %d lost of 300\n%s", rows, l, c.rows, c.lost, log.String())
			}
			if !strings.Contains(said(t, db), c.says) || !strings.Contains(log.String(), c.log) {
				t.Errorf("says %q, want %q\n%s", said(t, db), c.says, log.String())
			}
			mustWork(t, db)
			if err := shipper.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rows, err := storetest.Newest(t.Context(), shipper, 5); err != nil || len(rows) == 0 && l.Pending > 0 {
				t.Errorf("the shipper reads %d rows, %v", len(rows), err)
			}
		})
	}
}

func TestACopyOverTheOpenDatabaseIsDetectedBeforeTheNextTransaction(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    func(t *testing.T, path, backup string)
		sound bool
	}{
		{"a backup", func(t *testing.T, p, backup string) { copyPart(t, backup, p) }, false},
		{"a backup, and the log deleted", func(t *testing.T, p, backup string) { copyPart(t, backup, p); mustTruncate(t, p+"-wal", 0) }, false},
		{"a page of zeros", func(t *testing.T, p, _ string) { writeAt(t, p, size(t, p)/2/1024*1024, make([]byte, 8192)) }, false},
		{"the same", func(t *testing.T, p, _ string) {
			copyPart(t, p, p+".copy")
			copyPart(t, p+".copy", p)
		}, true},
		{"nothing", func(t *testing.T, p, _ string) {
			if err := os.Chtimes(p, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			backup := filepath.Join(t.TempDir(), "backup.db")
			var log bytes.Buffer
			db := mustOwn(t, path, &log)
			shipper := mustOpen(t, path)
			live(t, db)
			mustExec(t, path, "VACUUM INTO '"+backup+"'")
			for i := range int64(10) {
				mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(4_000_000+i*10_000, 10)}}})
			}
			if _, err := db.Checkpoint(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(5_000_000, 10)}}})
			if fault := db.Fault(); fault != nil {
				t.Fatal(fault)
			}
			before := mustAudit(t, db)
			c.do(t, path, backup)
			if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(6_000_000, 10)}}}); err == nil {
				t.Error("the collector wrote on")
			}
			for range 3 {
				if err := db.Mend(t.Context()); err != nil {
					t.Log(err)
				}
			}
			if fault := db.Fault(); fault != nil {
				t.Fatalf("%v\n%s", fault, log.String())
			}
			l := mustAudit(t, db)
			if l.Captured != before.Captured || c.sound != (l == before) || c.sound == strings.Contains(log.String(), "salvaged") {
				t.Errorf("before %+v, now %+v\n%s", before, l, log.String())
			}
			mustWork(t, db)
			if err := shipper.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustAudit(t, shipper)
		})
	}
}

func TestADatabaseOf0BytesIsLeftToTheCollector(t *testing.T) {
	path := lived(t, t.TempDir())
	mustTruncate(t, path, 0)
	wal := size(t, path+"-wal")
	shipper := store.New(path, store.Options{Device: "board-1"})
	defer shipper.Close()
	if err := Reopen(t.Context(), shipper, discard()); err == nil || !strings.Contains(err.Error(), "the collector") {
		t.Errorf("the shipper opened it: %v", err)
	}
	if _, err := store.OpenReader(t.Context(), path, store.ReadOptions{}); store.FaultOf(err) != store.FaultDamaged {
		t.Errorf("a reader: %v", err)
	}
	if _, err := store.Open(t.Context(), path, store.Options{}); store.FaultOf(err) != store.FaultDamaged {
		t.Errorf("a writer: %v", err)
	}
	if n := size(t, path+"-wal"); n != wal {
		t.Errorf("the log has %d bytes, had %d", n, wal)
	}
}
