package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

func TestTheEndOfADaemonIsRecordedWhereThereIsADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	end := func(second int64, text string) error {
		c := status.NewComponent(status.Daemon{Name: "metrics-shipper"}, status.ShipperRow, time.Second)
		return recordEnd(t.Context(), path, c, status.Moment{Wall: time.Unix(second, 0)}, errors.New(text))
	}
	if err := end(1, "x"); err == nil {
		t.Error("recorded where there is nothing")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a database was made")
	}

	db := mustOpen(t, path)
	old := status.NewComponent(status.Daemon{Name: "metrics-shipper"}, status.ShipperRow, time.Second)
	old.Succeed(status.Moment{Wall: time.Unix(50, 0)}, 7)
	old.Stop(status.Moment{Wall: time.Unix(60, 0)})
	mustRecord(t, db, Update{Status: []status.Row{old.Row()}})
	for second, text := range []string{"first", "second"} {
		if err := end(100+int64(second), text); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Statuses(t.Context())
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	r := rows[0]
	if r.State != status.Failed || r.Error != "second" || r.ErrorMs != 101000 || r.FailingSinceMs != 100000 || r.Succeeded != 7 || r.SuccessMs != 50000 || r.Failed != 2 {
		t.Errorf("%+v", r)
	}
}
