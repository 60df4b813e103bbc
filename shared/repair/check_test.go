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
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/mattn/go-sqlite3"
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

// A device that fails to read for a moment looks like damage to another process.
func TestASoundDatabaseThatSomebodyCalledDamagedIsUsedOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	shipper := mustOpen(t, path)
	before := mustAudit(t, shipper)
	var log strings.Builder
	owner := notYet(t, path, &log)
	for i := range clearedLimit + 1 {
		if err := shipper.RequestRepair(t.Context(), "metrics-shipper", store.ErrDamaged); err != nil {
			t.Fatal(err)
		}
		owner.SetFault(errors.New("to be opened"))
		if err := owner.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if met, err := owner.RequestedRepair(t.Context()); met != "" || err != nil {
			t.Errorf("still wanted: %q, %v", met, err)
		}
		kept, err := Kept(path)
		if err != nil {
			t.Fatal(err)
		}
		if anew := i == clearedLimit; anew != (len(kept) == 1) || anew != strings.Contains(log.String(), "salvaged") {
			t.Errorf("after %d times, set aside: %v\n%s", i+1, kept, log.String())
		}
		if err := shipper.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "the full integrity check passed; the database stays in use"); n != clearedLimit {
		t.Errorf("said %d times that it is used on:\n%s", n, log.String())
	}
	if after := mustAudit(t, owner); after != before {
		t.Errorf("%+v, want %+v", after, before)
	}
	mustWork(t, owner)
}

func TestWhatStaysInAReplacedFileIsCountedHoweverLongTheNextTakes(t *testing.T) {
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

func TestASectorThatIsGoneForGoodIsGivenUpAtTheSixthLook(t *testing.T) {
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

func TestWhatADeviceFailsToReadForAMomentIsNotTakenForLost(t *testing.T) {
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

func TestASoundDatabaseIsNotReplacedByAPartOfIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	var log strings.Builder
	db := mustOwn(t, path, &log)
	before := mustAudit(t, db)
	db.owner.keepFree = 1 << 50 // as on a disk that is nearly full
	for range 3 * clearedLimit {
		db.Observe(fmt.Errorf("%w: a page that the card gave wrongly once", store.ErrDamaged))
		if err := db.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l := mustAudit(t, db); l != before {
		t.Errorf("%+v, want %+v\n%s", l, before, log.String())
	}
	mustWork(t, db)
}

func TestOtherErrorsAfterDamageDoNotKeepASoundDatabaseClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	db := mustOwn(t, path, &strings.Builder{})
	before := mustAudit(t, db)
	for range 2 * clearedLimit {
		for range 2 {
			db.Observe(fmt.Errorf("%w: a page that the card gave wrongly once", store.ErrDamaged))
		}
		db.Observe(sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrWrite})
		if err := db.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if l := mustAudit(t, db); l != before {
		t.Errorf("%+v, want %+v", l, before)
	}
}

func TestDamageThatOnlyDeletingMeetsIsRepaired(t *testing.T) {
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

func TestADamagedLogIsReportedAndKeptOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, at := range []int64{walHeader + frameHeader + 100, 5} { // a frame, the header
		damagedLogOnce(t, at)
	}
}

func damagedLogOnce(t *testing.T, at int64) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	mustStock(t, path)
	overwrite(t, path+"-wal", at, []byte{0xff})
	var log strings.Builder
	// While another process writes, it cannot be opened.
	other := mustOpen(t, path)
	conn, err := sqltest.Open(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	db := notYet(t, path, &log)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := db.Mend(ctx); err == nil {
		t.Error("opened while somebody writes")
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	other.Close()
	for range 4 {
		if err := db.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1_790_000_000_000, 10)}}})
		db.Close()
		db = notYet(t, path, &log)
	}
	kept, err := Kept(path)
	if n := strings.Count(log.String(), "the write-ahead log is damaged"); n != 1 || len(kept) != 1 || err != nil {
		t.Errorf("said %d times, kept %v, %v\n%s", n, kept, err, log.String())
	}
}

func TestDamageOfAnEarlierSchemaIsSaid(t *testing.T) {
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
