package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taniwha3/thugshells/shared/status"
)

func TestRejectedSamplesAreListedAndCanBePutBack(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, named("1:a:2", "2:a:0", "3:a:3"))
	rows, err := db.Newest(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	bad := []Rejection{
		{Row: rows[0], HTTPStatus: 400, Reason: "refused alone", Words: "no <such> thing"},
		{Row: rows[1], Reason: "not finite", Words: strings.Repeat("w", 5000)},
	}
	if n, err := db.Reject(t.Context(), bad, time.UnixMilli(77), Update{}); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if l := mustBalance(t, db); l.Rejected != 2 || l.Pending != 1 {
		t.Errorf("%+v", l)
	}
	var got []string
	err = db.Rejections(t.Context(), func(r Rejection) error {
		got = append(got, fmt.Sprint(r.TimeMs, r.Series.Name, r.Value, r.Priority, r.HTTPStatus, r.Reason, len(r.Words), r.At.UnixMilli()))
		return nil
	})
	if diff := cmp.Diff([]string{"2a0.25 0 0not finite1000 77", "3a0.375 3 400refused alone15 77"}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if n, err := db.Requeue(t.Context()); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	if rows, err = db.Newest(t.Context(), 9); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"3:a:3", "2:a:0", "1:a:2"}, texts(rows)); diff != "" {
		t.Error(diff)
	}
	if l := mustBalance(t, db); l.Rejected != 0 || l.Pending != 3 {
		t.Errorf("%+v", l)
	}
	if n, err := db.Requeue(t.Context()); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestRejectionsAreListedOnceEachAndPinNothing(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	const all = 2*rejectedPage + 7
	mustRecord(t, db, Update{Groups: []Group{{Samples: tick(1000, all)}}})
	rows, err := db.Newest(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows { // many at one time, and not in the order of their keys
		at := time.UnixMilli(int64(100 - i/400))
		if _, err := db.Reject(t.Context(), []Rejection{{Row: r}}, at, Update{}); err != nil {
			t.Fatal(err)
		}
	}
	seen, last := map[int64]bool{}, int64(0)
	err = db.Rejections(t.Context(), func(r Rejection) error {
		if len(seen)%200 == 0 {
			mustRecord(t, db, Update{Groups: []Group{{Samples: tick(int64(2000+len(seen)), 1)}}})
			if c := mustCheckpoint(t, db, 0); c.Busy {
				t.Errorf("the log is pinned at row %d: %+v", len(seen), c)
			}
		}
		if seen[r.Series.ID] || r.At.UnixMilli() < last || r.Series.Name == "" {
			t.Errorf("row %d: %+v after %d", len(seen), r, last)
		}
		seen[r.Series.ID], last = true, r.At.UnixMilli()
		return nil
	})
	if err != nil || len(seen) != all {
		t.Errorf("%d of %d listed, %v", len(seen), all, err)
	}
}

func TestTheOldestRejectionsMakeRoomAndAreCountedAsLost(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for at := range 20 {
		mustRecord(t, db, named(fmt.Sprintf("%d:a:2", at+1)))
	}
	rows, err := db.Newest(t.Context(), 99)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows { // the newest sample is rejected first
		if _, err := db.Reject(t.Context(), []Rejection{{Row: r}}, time.UnixMilli(int64(i)), Update{}); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := db.write.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := trimRejected(t.Context(), tx, 5, time.UnixMilli(9)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var left []int64
	if err := db.Rejections(t.Context(), func(r Rejection) error { left = append(left, r.TimeMs); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{5, 4, 3, 2, 1}, left); diff != "" {
		t.Error(diff)
	}
	l := mustBalance(t, db)
	_, losses, err := db.Ledger(t.Context())
	if err != nil || len(losses) != 1 || losses[0].Reason != status.LostRejectedOverflow || losses[0].Count != 15 || l.Rejected != 5 {
		t.Errorf("%+v %+v %v", l, losses, err)
	}
}

func TestDeliveredRowsAreWalkedFromATime(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, named("1:a:2", "2:a:0", "2:b:3", "3:a:3", "4:a:1", "5:a:1"))
	if _, ok, err := db.LastDelivered(t.Context()); ok || err != nil {
		t.Errorf("nothing was delivered: %v %v", ok, err)
	}
	rows, err := db.Newest(t.Context(), 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Acknowledge(t.Context(), rows[1:], Receipt{BatchID: "b"}, Update{}); err != nil {
		t.Fatal(err)
	}
	row, ok, err := db.LastDelivered(t.Context())
	if err != nil || !ok || row.TimeMs != 4 {
		t.Errorf("%+v %v %v", row, ok, err)
	}
	at := CursorAt(2)
	for _, want := range []string{"2:a:0 2:b:3", "3:a:3 4:a:1", ""} {
		rows, err = db.Delivered(t.Context(), rows[:0], &at, 5, 2)
		if got := strings.Join(texts(rows), " "); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestOnlyTimesWithinTheStretchArePendingAgain(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, named("1:a:2", "2:a:0", "3:a:3", "4:a:1"))
	rows, err := db.Newest(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(rows[0].TimeMs)
	reject := func(r Row, status int, reason string) {
		t.Helper()
		if n, err := db.Reject(t.Context(), []Rejection{{Row: r, HTTPStatus: status, Reason: reason}}, at, Update{}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	reject(rows[0], 0, "timestamp 1 is more than 48 h ahead")
	reject(rows[1], 0, "value is not finite")
	reject(rows[2], 400, "timestamp 7")
	reject(rows[3], 0, "timestamp 2 is older than the server's retention of 744h0m0s")
	if n, err := db.RequeueTimes(t.Context(), 2, 3); n != 0 || err != nil {
		t.Errorf("outside of the stretch: %d, %v", n, err)
	}
	if n, err := db.RequeueTimes(t.Context(), 1, 1<<60); n != 2 || err != nil {
		t.Errorf("%d are pending again, %v; want the two that were rejected for their times here", n, err)
	}
	if l := mustBalance(t, db); l.Pending != 2 || l.Rejected != 2 {
		t.Errorf("%+v", l)
	}
}
