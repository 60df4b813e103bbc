package repair

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// live lets a database live for a while: 300 samples, of which 100 were
// delivered, 200 are in the file and 100 only in the WAL.
func live(t *testing.T, db *owned) {
	t.Helper()
	grow := func(from, ticks int64) {
		for i := range ticks {
			mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(from+i*1000, 10)}}})
		}
	}
	grow(1_000_000, 20)
	rows, err := storetest.Newest(t.Context(), db, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Acknowledge(t.Context(), rows, store.Receipt{BatchID: "b"}, store.Update{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	grow(2_000_000, 10)
	if _, err := db.owner.Step(t.Context()); err != nil { // notes how far it came
		t.Fatal(err)
	}
}

// lived is a database that lived and was left as a kill leaves it.
func lived(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "metrics.db")
	db := mustOwn(t, path, &bytes.Buffer{})
	live(t, db)
	killed := filepath.Join(dir, "killed")
	if err := os.Mkdir(killed, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"", "-wal", "-shm", ballastSuffix} {
		copyPart(t, path+part, filepath.Join(killed, "metrics.db"+part))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(killed, "metrics.db")
}

// said is what the row about the database's history says.
func said(t *testing.T, db *owned) string {
	t.Helper()
	rows, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Component == status.HistoryRow {
			return row.Error
		}
	}
	return ""
}

func TestWhatIsEmptyAtTheStartIsNotBelieved(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	write := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, p string) {
			mustRemove(t, p, p+"-wal", p+"-shm")
			if err := os.WriteFile(p, data, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		// what is there afterwards of 300 samples; rows delivered or not
		rows, lost int64
		says       string
	}{
		{"nothing happened", func(*testing.T, string) {}, 300, 0, ""},
		{"-shm gone", func(t *testing.T, p string) { mustRemove(t, p+"-shm") }, 300, 0, ""},
		{"database of 0 bytes", func(t *testing.T, p string) { mustTruncate(t, p, 0) }, -1, -1, ""},
		{"no database", func(t *testing.T, p string) { mustRemove(t, p) }, -1, -1, ""},
		{"database of 0 bytes, no -shm", func(t *testing.T, p string) { mustTruncate(t, p, 0); mustRemove(t, p+"-shm") }, -1, -1, ""},
		{"log of 0 bytes", func(t *testing.T, p string) { mustTruncate(t, p+"-wal", 0) }, 200, 100, "at least 100 samples are lost"},
		{"no log", func(t *testing.T, p string) { mustRemove(t, p+"-wal") }, 200, 100, "at least 100 samples are lost"},
		{"log cut in half", func(t *testing.T, p string) { mustTruncate(t, p+"-wal", size(t, p+"-wal")/2) }, -1, -1, "went back"},
		{"both of 0 bytes", func(t *testing.T, p string) { mustTruncate(t, p, 0); mustTruncate(t, p+"-wal", 0) }, 0, 200, "at least 200 samples are lost, 100 were delivered"},
		{"all gone but the ballast", func(t *testing.T, p string) { mustRemove(t, p, p+"-wal", p+"-shm") }, 0, 200, "at least 200"},
		{"one byte", write([]byte("S")), 0, 200, "at least 200"},
		{"one byte of zero", write([]byte{0}), 0, 200, "at least 200"},
		{"a sector of zeros", write(make([]byte, 512)), 0, 200, "at least 200"},
		{"all zeros", write(make([]byte, 40_000)), 0, 200, "at least 200"},
		{"an older copy", func(t *testing.T, p string) {
			mustTruncate(t, p+"-wal", 0)
			sqltest.Exec(t, p, "DELETE FROM samples WHERE uploaded = 0 AND timestamp_ms < 1005000", "UPDATE ledger SET count = 150 WHERE name = 'captured'", "PRAGMA wal_checkpoint(TRUNCATE)")
		}, 150, 150, "150 samples are lost"},
		{"ballast of an earlier version, database and log of 0 bytes", func(t *testing.T, p string) {
			mustTruncate(t, p, 0)
			mustTruncate(t, p+"-wal", 0)
			overwrite(t, p+ballastSuffix, 0, make([]byte, witnessBytes))
		}, 0, 0, "metrics.db.ballast is of an earlier one, and how many samples that had is unknown"},
		{"all gone but a kept file", func(t *testing.T, p string) {
			mustRemove(t, p, p+"-wal", p+"-shm", p+ballastSuffix)
			if err := os.WriteFile(keptName(p, time.Now()), nil, 0o640); err != nil {
				t.Fatal(err)
			}
		}, 0, 0, "is unknown"},
		{"a first start", func(t *testing.T, p string) { mustRemove(t, p, p+"-wal", p+"-shm", p+ballastSuffix) }, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := lived(t, t.TempDir())
			c.damage(t, path)
			var log bytes.Buffer
			db := mustOwn(t, path, &log)
			l := mustAudit(t, db)
			var rows int64
			if err := query(t, path, "SELECT count(*) FROM samples").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			total := int64(300)
			if c.rows == 0 && c.lost == 0 {
				total = 0 // unknown, or there was none
			}
			if l.Captured != total || c.rows >= 0 && rows != c.rows || c.lost >= 0 && l.Lost != c.lost {
				t.Errorf("%d rows, %+v; want %d rows and %d lost of %d\n%s", rows, l, c.rows, c.lost, total, log.String())
			}
			if c.rows < 0 && (rows < 90 || rows+l.Lost < 200) {
				t.Errorf("%d rows, %+v: the rows of the log are not all saved\n%s", rows, l, log.String())
			}
			if got := said(t, db); c.says == "" && got != "" && c.rows >= 0 || !strings.Contains(got, c.says) {
				t.Errorf("says %q, want %q", got, c.says)
			}
			if c.says != "" && !strings.Contains(log.String(), "went back to an earlier state") {
				t.Errorf("not logged:\n%s", log.String())
			}
			mustWork(t, db)
			// It is said once, and from there on it is the state to compare with.
			db.owner.Stop()
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			log.Reset()
			again := mustOwn(t, path, &log)
			if now := mustAudit(t, again); now.Lost != l.Lost || now.Captured != l.Captured+5 || strings.Contains(log.String(), "went back") {
				t.Errorf("at the next start %+v, was %+v\n%s", now, l, log.String())
			}
		})
	}
}

func TestWhatIsEmptiedUnderWayIsSavedOrCounted(t *testing.T) {
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

func TestACopyOverTheOpenDatabaseIsNoticedBeforeTheNextTransaction(t *testing.T) {
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

func TestNoSampleThatIsMissingIsCountedTwiceOrForgotten(t *testing.T) {
	ledger := func(captured, delivered int64) store.Ledger {
		return store.Ledger{Captured: captured, Delivered: delivered, Pending: captured - delivered}
	}
	for _, c := range []struct {
		last, now       store.Ledger
		sameMoment      bool
		delivered, lost int64
	}{
		{ledger(100, 50), ledger(100, 50), false, 0, 0},
		{ledger(100, 50), ledger(120, 50), false, 0, 0},
		{ledger(1000, 900), ledger(0, 0), false, 900, 100},
		{ledger(1000, 0), ledger(600, 0), false, 0, 400},
		{ledger(1000, 990), ledger(600, 550), false, 390, 10}, // the 50 that were pending are delivered again
		{ledger(1000, 900), ledger(700, 650), true, 250, 50},
		{ledger(1000, 900), ledger(700, 650), false, 200, 100},
		{ledger(1000, 100), ledger(999, 0), false, 0, 1},
	} {
		delivered, lost := missing(c.last, c.now, c.sameMoment)
		if delivered != c.delivered || lost != c.lost {
			t.Errorf("%+v, then %+v: %d delivered, %d lost; want %d and %d", c.last, c.now, delivered, lost, c.delivered, c.lost)
		}
	}
}

func FuzzAWitnessIsReadAsItWasWrittenOrNotAtAll(f *testing.F) {
	f.Add(witnessText(store.Ledger{Captured: 10, Delivered: 3, Lost: 1}), byte(0), 0)
	f.Add("", byte(1), 3)
	f.Fuzz(func(t *testing.T, text string, flip byte, at int) {
		if l, ok := parseWitness(text); ok {
			if again, ok := parseWitness(witnessText(l)); !ok || again != l {
				t.Errorf("%+v became %+v, %v", l, again, ok)
			}
		}
		good := []byte(witnessText(store.Ledger{Captured: 1234567, Delivered: 1234000, Held: 1, Lost: 12}))
		end := len(good) - 1
		if at = at % end; at < 0 {
			at += end
		}
		good[at] ^= flip
		if _, ok := parseWitness(string(good)); ok != (flip == 0) && !strings.EqualFold(string(good), witnessText(store.Ledger{Captured: 1234567, Delivered: 1234000, Held: 1, Lost: 12})) {
			t.Errorf("read with byte %d changed by %#x", at, flip)
		}
	})
}
