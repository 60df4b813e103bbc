package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/status"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// mustGrow makes a database that is too large to be checked whole, with damage
// in its middle that only a walk over all samples meets.
func mustGrow(t testing.TB, path string) {
	t.Helper()
	db := mustOpen(t, path)
	for i := range int64(200) {
		var all []store.Group
		for j := range int64(10) {
			all = append(all, store.Group{Priority: 1, Samples: tick(1_700_000_000_000+i*100_000+j*10_000, 60)})
		}
		mustRecord(t, db, store.Update{Groups: all})
	}
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := size(t, path); n <= 4<<20 {
		t.Fatalf("only %d bytes", n)
	}
	at := size(t, path) / 3 / store.PageSize * store.PageSize
	overwrite(t, path, at, []byte(strings.Repeat("\xff", 3*store.PageSize)))
}

func TestSamplesInAReplacedFileAreCountedHoweverLongTheNextTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	db := mustOwn(t, path, &log)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	newer := filepath.Join(t.TempDir(), "newer.db")
	mustStock(t, newer)
	mustExec(t, newer, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later'); PRAGMA wal_checkpoint(TRUNCATE)")
	rename(t, newer, path)
	if err := db.Mend(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
		t.Fatalf("%v, want %v", err, store.ErrNewerSchema)
	}
	mustRemove(t, path)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != 20 || l.Lost != 20 {
		t.Errorf("%+v, want 20 lost\n%s", l, log.String())
	}
	mustWork(t, db)
}

func TestASectorThatStaysUnreadableIsSkippedAtTheSixthAttempt(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustGrow(t, path)
	var log strings.Builder
	db := notYet(t, path, &log)
	db.owner.readAll = func(context.Context, string) error { return fmt.Errorf("%w: %w", store.ErrDevice, syscall.EIO) }
	tries := 0
	for range 40 {
		if db.Fault() == nil {
			if _, err := storetest.Audit(t.Context(), db); err == nil {
				break
			}
			continue
		}
		if err := db.Mend(t.Context()); errors.Is(err, store.ErrDevice) {
			tries++
		}
	}
	if l := mustAudit(t, db); tries != unreadableLimit-1 || l.Lost == 0 || l.Pending+l.Lost != l.Captured {
		t.Errorf("%d tries, then %+v\n%s", tries, l, log.String())
	}
}

// samplesPage is where a page of the table of samples is in the file.
func samplesPage(t testing.TB, path string) int64 {
	t.Helper()
	read, err := store.OpenReader(t.Context(), path, store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	var page int64
	if err := query(t, path, "SELECT rootpage FROM sqlite_schema WHERE name = 'samples'").Scan(&page); err != nil {
		t.Fatal(err)
	}
	// The first child of the root, which is an interior page: sqlite.org/fileformat2.html.
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := make([]byte, store.PageSize)
	for range 2 {
		if _, err := f.ReadAt(root, (page-1)*store.PageSize); err != nil {
			t.Fatal(err)
		}
		if root[0] != 2 {
			break
		}
		cell := int(root[12])<<8 | int(root[13])
		page = int64(binary.BigEndian.Uint32(root[cell:]))
	}
	return (page - 1) * store.PageSize
}

func TestPagesThatADeviceFailsToReadForAMomentAreNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	mustEmptyLog(t, path)
	page := samplesPage(t, path)
	good := make([]byte, 3*store.PageSize)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(good, page); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, page, []byte(strings.Repeat("\xff", len(good))))
	if l := readableOf(t, path); l.Lost == 0 {
		t.Fatalf("nothing is lost with the damage, and the test is void: %+v", l)
	}
	var log strings.Builder
	db := notYet(t, path, &log)
	asked := 0
	db.owner.readAll = func(ctx context.Context, path string) error {
		if asked++; asked == 2 { // the first copy is made, and the device is well again
			overwrite(t, path, page, good)
		}
		return readAll(ctx, path)
	}
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured != stockedTotal || l.Lost != 0 {
		t.Errorf("%+v\n%s", l, log.String())
	}
}

func TestDamageThatOnlyADeletionMeetsIsRepaired(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustGrow(t, path)
	var log strings.Builder
	db := mustOwn(t, path, &log)
	for range 4 {
		var sweep store.Sweep
		for done := false; !done; {
			var err error
			if _, done, err = db.DeleteDelivered(t.Context(), &sweep, 1<<60, nil); err != nil {
				break
			}
		}
		if db.Fault() != nil {
			if err := db.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !strings.Contains(log.String(), "salvaged") {
		t.Errorf("not repaired:\n%s", log.String())
	}
}

func TestDamageOfAnEarlierSchemaIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	sqltest.Exec(t, path, sqltest.Schema2, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000)
		INSERT INTO metrics (timestamp_ms, metric_name, metric_value, value_type, uploaded, dedup_key) SELECT 1700000000000+i, 'cpu.usage', i, 0, 0, 'k' || i FROM n`)
	overwrite(t, path, size(t, path)/3/4096*4096, []byte(strings.Repeat("\xff", 4096*6)))
	db := notYet(t, path, io.Discard)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l.Captured == 0 || l.Captured == 5000 {
		t.Errorf("%+v", l)
	}
	all, err := db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == status.DamageRow && strings.Contains(s.Error, "lost: unknown") {
			return
		}
	}
	t.Errorf("no word of it: %v", all)
}
