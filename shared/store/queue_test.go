package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/taniwha3/thugshells/shared/metric"
)

// named is samples "at:series:priority", in groups as Record wants them.
func named(list ...string) (u Update) {
	for _, text := range list {
		var at int64
		var series string
		var priority int
		if _, err := fmt.Sscanf(strings.ReplaceAll(text, ":", " "), "%d %s %d", &at, &series, &priority); err != nil {
			panic(err)
		}
		u.Groups = append(u.Groups, Group{Priority: priority, Samples: []metric.Sample{{Name: series, TimeMs: at, Value: float64(at) / 8}}})
	}
	return u
}

func texts(rows []Row) (list []string) {
	for _, r := range rows {
		if r.Value != float64(r.TimeMs)/8 {
			list = append(list, fmt.Sprint("wrong value ", r.Value))
		}
		list = append(list, fmt.Sprintf("%d:%s:%d", r.TimeMs, r.Series.Name, r.Priority))
	}
	return list
}

func TestNewestSinceReturnsAllPrioritiesNewestFirst(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, named("1:a:2", "2:a:2", "2:b:0", "3:a:3", "3:b:1", "4:a:2"))
	rows, err := db.NewestSince(t.Context(), nil, 2, Except{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"4:a:2", "3:b:1", "3:a:3", "2:b:0"}, texts(rows)); diff != "" {
		t.Error(diff)
	}
	if rows, err = db.NewestSince(t.Context(), rows[:0], 4, Except{}, 100); err != nil || len(rows) != 1 {
		t.Errorf("from 4 on: %v, %v", texts(rows), err)
	}
}

func TestBacklogGoesByPriorityThenByTime(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	mustRecord(t, db, named("1:a:2", "2:a:2", "2:b:0", "3:a:2", "3:b:0", "4:a:2", "4:b:0", "1:c:3", "9:a:0"))
	for _, c := range []struct {
		oldestFirst bool
		want        []string
	}{
		{false, []string{"4:b:0 3:b:0", "2:b:0", "4:a:2 3:a:2", "2:a:2 1:a:2", "1:c:3"}},
		{true, []string{"2:b:0 3:b:0", "4:b:0", "1:a:2 2:a:2", "3:a:2 4:a:2", "1:c:3"}},
	} {
		var got []string
		var at Cursor
		for {
			rows, err := db.Backlog(t.Context(), nil, &at, 9, c.oldestFirst, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				break
			}
			got = append(got, strings.Join(texts(rows), " "))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("oldest first %v: %s", c.oldestFirst, diff)
		}
	}
}

// What was not sent must not be marked, whatever happened to the rows between
// the reading and the marking.
func TestOnlyRowsThatWereSentAreMarked(t *testing.T) {
	ten := func() (u Update) {
		for at := range 10 {
			u.Groups = append(u.Groups, named(fmt.Sprintf("%d:b:2", 10+at)).Groups...)
		}
		return u
	}
	for name, between := range map[string]func(*testing.T, *DB, []Row) []Row{
		"nothing":          func(_ *testing.T, _ *DB, rows []Row) []Row { return rows },
		"oldest first":     func(_ *testing.T, _ *DB, rows []Row) []Row { slices.Reverse(rows); return rows },
		"in no order":      func(_ *testing.T, _ *DB, rows []Row) []Row { rows[2], rows[7] = rows[7], rows[2]; return rows },
		"one left out":     func(_ *testing.T, _ *DB, rows []Row) []Row { return slices.Delete(rows, 4, 5) },
		"the first half":   func(_ *testing.T, _ *DB, rows []Row) []Row { return rows[:8] },
		"one more between": func(t *testing.T, db *DB, rows []Row) []Row { mustRecord(t, db, named("14:a:2")); return rows },
		"one more before":  func(t *testing.T, db *DB, rows []Row) []Row { mustRecord(t, db, named("10:a:2")); return rows },
		"one more after":   func(t *testing.T, db *DB, rows []Row) []Row { mustRecord(t, db, named("19:c:2")); return rows },
		"another priority": func(t *testing.T, db *DB, rows []Row) []Row {
			mustRecord(t, db, named("14:a:1", "15:a:3"))
			return rows
		},
		"one gone": func(t *testing.T, db *DB, rows []Row) []Row {
			if _, err := db.write.Exec("DELETE FROM samples WHERE timestamp_ms = 14; UPDATE ledger SET count = count - 1 WHERE name = 'captured'"); err != nil {
				t.Fatal(err)
			}
			return rows
		},
		"one gone and one come": func(t *testing.T, db *DB, rows []Row) []Row {
			if _, err := db.write.Exec("DELETE FROM samples WHERE timestamp_ms = 14; UPDATE ledger SET count = count - 1 WHERE name = 'captured'"); err != nil {
				t.Fatal(err)
			}
			mustRecord(t, db, named("14:a:2"))
			return rows
		},
		"one rejected": func(t *testing.T, db *DB, rows []Row) []Row {
			if _, err := db.Reject(t.Context(), []Rejection{{Row: rows[3]}}, time.UnixMilli(1), Update{}); err != nil {
				t.Fatal(err)
			}
			return rows
		},
		"delivered already": func(t *testing.T, db *DB, rows []Row) []Row {
			if _, err := db.Acknowledge(t.Context(), rows[:9], Receipt{}, Update{}); err != nil {
				t.Fatal(err)
			}
			return rows
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
			mustRecord(t, db, ten())
			rows, err := db.Newest(t.Context(), 100)
			if err != nil || len(rows) != 10 {
				t.Fatal(len(rows), err)
			}
			sent := between(t, db, rows)
			states := func() map[string]int {
				found, err := db.read.Query("SELECT timestamp_ms || ' ' || series_id, uploaded FROM samples")
				if err != nil {
					t.Fatal(err)
				}
				defer found.Close()
				states := map[string]int{}
				for found.Next() {
					var key string
					var state int
					if err := found.Scan(&key, &state); err != nil {
						t.Fatal(err)
					}
					states[key] = state
				}
				return states
			}
			want := states()
			wantMarked := 0
			for _, r := range sent {
				key := fmt.Sprint(r.TimeMs, " ", r.Series.ID)
				if state, ok := want[key]; ok && state == int(Pending) {
					want[key] = int(Delivered)
					wantMarked++
				}
			}
			marked, err := db.Acknowledge(t.Context(), sent, Receipt{BatchID: "b"}, Update{})
			if err != nil || marked != wantMarked {
				t.Errorf("marked %d, %v; want %d", marked, err, wantMarked)
			}
			if diff := cmp.Diff(want, states()); diff != "" {
				t.Error(diff)
			}
			mustBalance(t, db)
		})
	}
}
