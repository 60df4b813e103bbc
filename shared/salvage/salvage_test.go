package salvage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

func mustRun(t testing.TB, file, log []byte, known Known) (Report, string) {
	t.Helper()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "damaged.db"), filepath.Join(dir, "new.db")
	if err := os.WriteFile(from, file, 0o640); err != nil {
		t.Fatal(err)
	}
	if log != nil {
		if err := os.WriteFile(from+"-wal", log, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(t.Context(), from, to, known)
	if err != nil {
		t.Fatal(err)
	}
	return report, to
}

func TestASoundDatabaseIsCopiedWhole(t *testing.T) {
	s := mustStock(t)
	report, to := mustRun(t, s.file, nil, Known{Device: "board-1"})
	rows, err := readRows(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, %d rows, %d bytes, %d deleted", report, len(s.rows), len(s.file), len(s.deleted))
	if len(rows) != len(s.rows) {
		t.Errorf("%d rows, want %d", len(rows), len(s.rows))
	}
	db, err := store.OpenReader(t.Context(), to, store.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := storetest.Audit(t.Context(), db)
	if err != nil || l != s.ledger {
		t.Errorf("%+v, %v, want %+v", l, err, s.ledger)
	}
	e, _ := os.ReadDir(filepath.Dir(to))
	t.Log(e)
}
