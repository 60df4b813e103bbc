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

func TestAnEmptyFileAtTheStartIsNotBelieved(t *testing.T) {
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

func TestEverySampleThatIsMissingIsCountedOnce(t *testing.T) {
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

func FuzzARecordOfTheLedgerIsReadAsWrittenOrNotAtAll(f *testing.F) {
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
