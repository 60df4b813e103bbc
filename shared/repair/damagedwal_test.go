package repair

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/taniwha3/thugshells/shared/store"
)

func TestADamagedWALIsReportedAndKeptOnce(t *testing.T) {
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
		t.Error("opened while another process writes")
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

// Until the first checkpoint all of a database is in its WAL.
func TestAWALWithoutItsDatabaseIsRecovered(t *testing.T) {
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
