package tests

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A witness reads the database beside the daemons and remembers every row that
// it saw committed, out of their reach.
type witness struct {
	path string

	mu    sync.Mutex
	seen  map[rowKey]float64
	last  int64 // time of the newest
	looks int   // that succeeded
	fault error // of the last one that did not
}

type rowKey struct{ atMs, series int64 }

// lateMs is how much later than a sample's time its row may be committed.
const lateMs = 10_000

func newWitness(path string) *witness { return &witness{path: path, seen: map[rowKey]float64{}} }

// look reads what is there now. The reader comes and goes: while it is away,
// the next daemon to start finds a database that no process has open.
func (w *witness) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := os.Stat(w.path); err != nil {
		return
	}
	if err := w.read(); err != nil {
		w.fault = err
		return
	}
	w.looks++
}

func (w *witness) read() error {
	db, err := sql.Open("sqlite3", "file:"+w.path+"?mode=ro&_busy_timeout=1000")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT timestamp_ms, series_id, value FROM samples WHERE timestamp_ms > ? AND value IS NOT NULL", w.last-lateMs)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key rowKey
		var value float64
		if err := rows.Scan(&key.atMs, &key.series, &value); err != nil {
			return err
		}
		w.seen[key] = value
		w.last = max(w.last, key.atMs)
	}
	return rows.Err()
}

// recall returns what was seen and is not in the database as it was.
func (w *witness) recall() (seen int, faults []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looks == 0 {
		return 0, nil, fmt.Errorf("no look succeeded: %w", w.fault)
	}
	db, err := sql.Open("sqlite3", "file:"+w.path+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return 0, nil, err
	}
	defer db.Close()
	rows, err := db.Query("SELECT timestamp_ms, series_id, value FROM samples WHERE value IS NOT NULL")
	if err != nil {
		return 0, nil, err
	}
	defer rows.Close()
	left := len(w.seen)
	for rows.Next() {
		var key rowKey
		var value float64
		if err := rows.Scan(&key.atMs, &key.series, &value); err != nil {
			return 0, nil, err
		}
		if was, ok := w.seen[key]; ok {
			left--
			if was != value {
				faults = append(faults, fmt.Sprintf("%v was %v and is %v", key, was, value))
			}
		}
	}
	if left > 0 {
		faults = append(faults, fmt.Sprintf("%d rows were committed and are gone", left))
	}
	return len(w.seen), faults, rows.Err()
}

// A reckoning is the state of the ledger at the end.
type reckoning struct {
	Captured, Delivered, Pending, Held, Rejected, Local, Lost int64
}

// reckon compares the ledger with the rows themselves. Nothing was deleted.
func reckon(path string) (r reckoning, err error) {
	out, err := query(path, `SELECT (SELECT count FROM ledger WHERE name = 'captured'), (SELECT count FROM ledger WHERE name = 'delivered'),
		(SELECT count FROM ledger WHERE name = 'held'), (SELECT count FROM ledger WHERE name = 'rejected'),
		(SELECT count FROM ledger WHERE name = 'local'), (SELECT coalesce(sum(count), 0) FROM losses)`)
	if err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(strings.TrimSpace(out), "%d|%d|%d|%d|%d|%d", &r.Captured, &r.Delivered, &r.Held, &r.Rejected, &r.Local, &r.Lost); err != nil {
		return r, fmt.Errorf("ledger %q: %w", out, err)
	}
	out, err = query(path, `SELECT count(*) FILTER (WHERE uploaded = 1), count(*) FILTER (WHERE uploaded = 0), count(*) FILTER (WHERE uploaded = 3),
		count(*) FILTER (WHERE uploaded = 2), count(*) FILTER (WHERE uploaded = 4), count(*) FROM samples`)
	if err != nil {
		return r, err
	}
	var delivered, held, rejected, local, all int64
	if _, err := fmt.Sscanf(strings.TrimSpace(out), "%d|%d|%d|%d|%d|%d", &delivered, &r.Pending, &held, &rejected, &local, &all); err != nil {
		return r, fmt.Errorf("rows %q: %w", out, err)
	}
	var faults []error
	if delivered != r.Delivered || held != r.Held || rejected != r.Rejected || local != r.Local || all+r.Lost != r.Captured {
		faults = append(faults, fmt.Errorf("the ledger says %+v, the rows: delivered %d, held %d, rejected %d, local %d, all %d", r, delivered, held, rejected, local, all))
	}
	if r.Captured != r.Delivered+r.Pending+r.Held+r.Rejected+r.Local+r.Lost {
		faults = append(faults, fmt.Errorf("the books do not balance: %+v", r))
	}
	out, err = query(path, "PRAGMA integrity_check")
	if err != nil || out != "ok\n" {
		faults = append(faults, fmt.Errorf("integrity_check: %q %w", out, err))
	}
	return r, errors.Join(faults...)
}

// mustBeThere compares every delivered row with what the server shows, value and
// time, and returns how many there are.
func mustBeThere(t testing.TB, path, server string) (count int) {
	t.Helper()
	got := mustArrive(t, path, server)
	checkCounters(t, got)
	return len(got)
}

// mustArrive waits until the server shows the delivered rows, one to one.
func mustArrive(t testing.TB, path, server string) (got []string) {
	t.Helper()
	want, err := storedSamples(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Fatal("nothing was delivered")
	}
	same := false
	// Until what came last can be seen: some seconds. What is missing is missing.
	for range 60 {
		get(server + "/internal/force_flush")
		if got, err = exportedSamples(server, false); err == nil && slices.Equal(want, got) {
			same = true
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	if !same {
		t.Errorf("%v %s", err, difference(want, got))
	}
	return got
}

// checkCounters requires of each counter of an interface that it shows what
// setCounters wrote for it, in the order of the turns.
func checkCounters(t testing.TB, exported []string) {
	t.Helper()
	last := map[string]int{}
	times := map[string]int64{}
	found := 0
	for _, line := range exported {
		name, iface, atMs, value, ok := counterOf(line)
		if !ok {
			continue
		}
		field := slices.Index(counterFields, name)
		turn := int(value) / 1000
		if turn < 1 || float64(counterAt(turn, iface, field)) != value {
			t.Errorf("no such value was ever there: %s", line)
			return
		}
		key := fmt.Sprint(name, iface)
		if atMs > times[key] && turn < last[key] {
			t.Errorf("an older value at a later time: %s", line)
			return
		}
		last[key], times[key] = turn, atMs
		found++
	}
	if found == 0 {
		t.Error("no counter of an interface is at the server")
	}
}

// counterOf takes a line of exportedSamples apart.
func counterOf(line string) (name string, iface int, atMs int64, value float64, ok bool) {
	fields := strings.Fields(line)
	labels := map[string]string{}
	for _, f := range fields[:len(fields)-2] {
		k, v, _ := strings.Cut(f, "=")
		var text string
		if json.Unmarshal([]byte(v), &text) == nil {
			labels[k] = text
		}
	}
	name = labels["__name__"]
	if !slices.Contains(counterFields, name) {
		return "", 0, 0, 0, false
	}
	_, err1 := fmt.Sscanf(labels["interface"], "wwan%d", &iface)
	_, err2 := fmt.Sscan(fields[len(fields)-2], &atMs)
	_, err3 := fmt.Sscan(fields[len(fields)-1], &value)
	return name, iface, atMs, value, errors.Join(err1, err2, err3) == nil
}
