package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store/sqltest"

	"github.com/google/go-cmp/cmp"
)

func TestDeletedUndeliveredSamplesAreCountedLowestPriorityFirst(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	start := func(id string) {
		if err := db.StartSession(t.Context(), Session{ID: id, Start: time.UnixMilli(1)}); err != nil {
			t.Fatal(err)
		}
	}
	start("earlier")
	mustRecord(t, db, Update{HoldAll: true, Groups: []Group{{Samples: tick(1, 3)}}})
	start("now")
	mustRecord(t, db, Update{HoldAll: true, Groups: []Group{{Samples: tick(2, 4)}}})
	for p := range 4 {
		for at := range int64(2) {
			mustRecord(t, db, Update{Groups: []Group{{Priority: p, Samples: tick(1000+100*at+int64(p), 300)}}})
		}
	}
	rows, err := db.Newest(t.Context(), 5) // of priority 3
	if err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, db, 0)
	for _, r := range rows {
		if _, err := db.Reject(t.Context(), []Rejection{{Row: r, Reason: "r"}}, time.UnixMilli(9), Update{}); err != nil {
			t.Fatal(err)
		}
	}

	var got []string
	for i := range 100 {
		n, err := db.DropUndelivered(t.Context(), "size_limit", time.UnixMilli(int64(5000+i)))
		if err != nil {
			t.Fatal(err)
		}
		l := mustBalance(t, db)
		if l.Captured != 2407 {
			t.Fatalf("ledger %+v", l)
		}
		if n == 0 {
			break
		}
		var by [4]int
		for p := range by {
			if err := db.read.QueryRow("SELECT count(*) FROM samples WHERE uploaded = 0 AND priority = ?", p).Scan(&by[p]); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, fmt.Sprintf("%d: rejected %d held %d pending %v", n, l.Rejected, l.Held, by))
	}
	want := []string{
		"5: rejected 0 held 7 pending [600 600 600 595]",
		"3: rejected 0 held 4 pending [600 600 600 595]",
		"500: rejected 0 held 4 pending [600 600 600 95]",
		"95: rejected 0 held 4 pending [600 600 600 0]",
		"500: rejected 0 held 4 pending [600 600 100 0]",
		"100: rejected 0 held 4 pending [600 600 0 0]",
		"500: rejected 0 held 4 pending [600 100 0 0]",
		"100: rejected 0 held 4 pending [600 0 0 0]",
		"500: rejected 0 held 4 pending [100 0 0 0]",
		"100: rejected 0 held 4 pending [0 0 0 0]",
		"4: rejected 0 held 0 pending [0 0 0 0]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, losses, err := db.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Loss{{Reason: "size_limit", Count: 2407, FirstMs: 5000, LastMs: 5010}}, losses); diff != "" {
		t.Error(diff)
	}
	mustBe(t, db, 0, "SELECT count(*) FROM rejected")
}

func TestOldestPendingOfOnePriorityGoFirst(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for at := range int64(12) {
		mustRecord(t, db, Update{Groups: []Group{{Priority: 2, Samples: tick((at*7)%12, 100)}}})
	}
	if n, err := db.DropUndelivered(t.Context(), "low_space", time.Now()); n != SliceRows || err != nil {
		t.Fatal(n, err)
	}
	mustBe(t, db, 5, "SELECT min(timestamp_ms) FROM samples")
}

func TestLocalSamplesThatBecameTooOldAreLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	sqltest.Exec(t, path, sqltest.Schema2, `INSERT INTO metrics (timestamp_ms, metric_name, value_text, value_type, uploaded, dedup_key) VALUES
		(1000, 'encoder.state', 'on air', 1, 0, 'a'), (2000, 'encoder.state', 'off', 1, 0, 'b')`)
	db := mustOpen(t, path)
	if n, _, err := db.DeleteDelivered(t.Context(), &Sweep{}, 1500, nil); n != 1 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	if l := mustBalance(t, db); l.Captured != 2 || l.Local != 1 || l.Lost != 1 || l.Pending != 0 {
		t.Errorf("ledger %+v", l)
	}
}
