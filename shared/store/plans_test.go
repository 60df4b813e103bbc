package store

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// plan returns the steps in which SQLite would run a query.
func plan(t testing.TB, db *sql.DB, query string, args ...any) []string {
	t.Helper()
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var a, b, c int
		var step string
		if err := rows.Scan(&a, &b, &c, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}

// TestNothingThatRunsOftenReadsATable holds every query that runs at intervals
// to searches: none may read samples, receipts or sessions from end to end, or
// sort more rows than it returns.
func TestNothingThatRunsOftenReadsATable(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	none := []any{}
	n := func(count int) []any { return make([]any, count) }
	for _, q := range []struct {
		what, query string
		args        []any
		search      string // what must be among the steps
	}{
		{"the newest pending", newestQuery(), n(4), "SEARCH samples USING INDEX samples_pending (priority=? AND timestamp_ms>?)"},
		{"the oldest pending", oldestPending, none, "SEARCH samples USING COVERING INDEX samples_pending (priority=?)"},
		{"the oldest", oldestStored, none, "SEARCH samples"},
		{"the last receipt", lastReceipt, none, "SCAN upload_checkpoints"}, // from its end, one row
		{"the next to delete", nextDelivered, n(3), "SEARCH samples USING PRIMARY KEY ((timestamp_ms,series_id)>(?,?)"},
		{"the end of a slice", rowsOn, n(4), "SEARCH samples USING PRIMARY KEY"},
		{"delete delivered", deleteDelivered, n(5), "SEARCH samples USING PRIMARY KEY"},
		{"delete rejected", deleteRejected, n(1), "SEARCH samples USING PRIMARY KEY (timestamp_ms=? AND series_id=?)"},
		{"forget reasons", deleteReasons, n(1), "SEARCH rejected USING PRIMARY KEY (timestamp_ms=? AND series_id=?)"},
		{"delete held", deleteHeld, n(1), "SEARCH samples USING PRIMARY KEY (timestamp_ms=? AND series_id=?)"},
		{"delete held of earlier runs", deleteLeft, n(2), "SEARCH samples USING COVERING INDEX samples_held (session<?)"},
		{"delete pending", deletePending, n(2), "SEARCH samples USING COVERING INDEX samples_pending (priority=?)"},
		{"trim receipts", deleteReceipts, n(3), "SEARCH upload_checkpoints USING INTEGER PRIMARY KEY (rowid=?)"},
		{"trim sessions", deleteSessions, n(2), "SEARCH sessions USING INTEGER PRIMARY KEY (rowid=?)"},
		{"export", storedFrom, n(3), "SEARCH samples USING PRIMARY KEY"},
	} {
		steps := plan(t, db.read, q.query, q.args...)
		all := strings.Join(steps, "\n\t")
		if !strings.Contains(all, q.search) {
			t.Errorf("%s: not among the steps: %s\n\t%s", q.what, q.search, all)
		}
		for _, s := range steps {
			if strings.HasPrefix(s, "SCAN") && !short(s, strings.Contains(q.query, "LIMIT")) {
				t.Errorf("%s: %s\n\t%s", q.what, s, all)
			}
			if strings.Contains(s, "TEMP B-TREE") && q.query != newestQuery() {
				t.Errorf("%s sorts: %s\n\t%s", q.what, s, all)
			}
		}
	}
}

// short says that a scan is over a constant, over another step's few rows, or in
// the order of a key and no further than the query's limit.
func short(step string, limited bool) bool {
	switch step {
	case "SCAN upload_checkpoints", "SCAN sessions", "SCAN rejected":
		return limited
	}
	return strings.HasPrefix(step, "SCAN CONSTANT") || strings.HasPrefix(step, "SCAN (subquery") || limited && strings.Contains(step, "USING")
}

// TestEveryPageOfTheBacklogCostsTheSame walks it in both orders: a page at the
// end must not read what the pages before it have read.
func TestEveryPageOfTheBacklogCostsTheSame(t *testing.T) {
	const pages, page = 200, 250
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for at := range int64(pages) {
		mustRecord(t, db, Update{Groups: []Group{{Samples: tick(at, page)}}})
	}
	walk := func(oldestFirst bool) (took [pages]time.Duration) {
		var at Cursor
		for i := range took {
			begun := time.Now()
			rows, err := db.Backlog(t.Context(), nil, &at, 1<<40, oldestFirst, page)
			if took[i] = time.Since(begun); err != nil || len(rows) != page {
				t.Fatalf("page %d has %d rows, %v", i, len(rows), err)
			}
		}
		return took
	}
	for _, oldestFirst := range []bool{false, true} {
		const of = 20 // pages at either end
		first, last := time.Hour, time.Hour
		for range 3 {
			took := walk(oldestFirst)
			first, last = min(first, slices.Min(took[1:1+of])), min(last, slices.Min(took[pages-of:]))
		}
		if last > 4*first {
			t.Errorf("oldest first %v: a page at the end takes %s, one at the start %s", oldestFirst, last, first)
		}
	}
}
