package repair

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/status"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

func TestADamagedDatabaseIsRepairedOrLeftUntouched(t *testing.T) {
	garbage := []byte(strings.Repeat("\xa5\x5a\x17\xe1", 256))
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		atLeast,
		atMost int // samples that are there afterwards, of stockedTotal
		kept int // damaged files
		says string
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
			if err != nil || c.kept >= 0 && len(kept) != c.kept {
				t.Errorf("kept %v, %v; want %d", kept, err, c.kept)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("does not say %q:\n%s", c.says, log.String())
			}
			mustWork(t, db)
			if c.kept > 0 {
				all, err := db.Statuses(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				reported := false
				for _, s := range all {
					reported = reported || s.Component == status.DamageRow && s.Error != "" && s.ErrorMs > 0
				}
				if !reported {
					t.Error("nothing is left for health to read")
				}
			}
		})
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
