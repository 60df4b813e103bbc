package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
)

func eventsOf(t *testing.T, db *DB, limit int) ([]metric.Event, int) {
	t.Helper()
	all, total, err := db.RecentEvents(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	return all, total
}

func TestEventsAreKeptNewestFirstAndBounded(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	for i := range 30 {
		var g Group
		for k := range 100 {
			g.Events = append(g.Events, metric.Event{TimeMs: int64(1000 + i*100 + k), Source: "kernel", Name: "n", Text: fmt.Sprint(strings.Repeat("é", 150), i)})
		}
		if _, err := db.Record(t.Context(), Update{Groups: []Group{g}}); err != nil {
			t.Fatal(err)
		}
	}
	all, total := eventsOf(t, db, 5)
	if total != maxEvents || len(all) != 5 || all[0].TimeMs != 3999 || all[4].TimeMs != 3995 {
		t.Errorf("%d events, the newest %v", total, all)
	}
	if len(all[0].Text) > metric.MaxEventText || !strings.HasPrefix(all[0].Text, "é") {
		t.Errorf("a text of %d bytes", len(all[0].Text))
	}
	if all, _ := eventsOf(t, db, 1<<20); len(all) != maxEvents || all[maxEvents-1].TimeMs != 2000 {
		t.Errorf("%d events", len(all))
	}
}

// TestASchema3WithoutEventsGainsThem opens a database that an earlier program made.
func TestASchema3WithoutEventsGainsThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	db := mustOpen(t, path)
	if _, err := db.write.Exec("DROP TABLE events"); err != nil {
		t.Fatal(err)
	}
	if all, total := eventsOf(t, db, 5); len(all) != 0 || total != 0 {
		t.Errorf("%d events without a table", total)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, path)
	if v, err := db.SchemaVersion(context.Background()); v != 3 || err != nil {
		t.Errorf("schema %d, %v", v, err)
	}
	if _, err := db.Record(t.Context(), Update{Groups: []Group{{Events: []metric.Event{{TimeMs: 1, Source: "kernel", Name: "n", Text: "t"}}}}}); err != nil {
		t.Fatal(err)
	}
	if _, total := eventsOf(t, db, 5); total != 1 {
		t.Errorf("%d events", total)
	}
}

// TestEventsGetTheirTimesWithTheSamples: what was stamped by a wrong clock is
// moved with it, and what is sure is not.
func TestEventsGetTheirTimesWithTheSamples(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	boot := func(wall time.Time, since time.Duration, trusted bool) Clock {
		return Clock{Now: status.Moment{Wall: wall, Boot: since}, BootID: "b", Trusted: trusted}
	}
	wrong, right := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC)
	if err := db.StartSession(t.Context(), Session{ID: "s", Start: wrong, Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RecordClock(t.Context(), boot(wrong, time.Minute, false)); err != nil {
		t.Fatal(err)
	}
	sure := metric.Event{TimeMs: right.Add(-time.Hour).UnixMilli(), Source: "kernel", Name: "earlier"}
	held := metric.Event{TimeMs: wrong.Add(time.Second).UnixMilli(), Source: "kernel", Name: "held"}
	row := status.Row{Component: status.CollectorRow, BootID: "b", HeartbeatMs: wrong.UnixMilli(), HeartbeatBootMs: time.Minute.Milliseconds()}
	u := Update{Status: []status.Row{row}, Groups: []Group{{Events: []metric.Event{held}}, {Events: []metric.Event{sure}, ClockTrusted: true}}}
	if _, err := db.Record(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RecordClock(t.Context(), boot(right, 2*time.Minute, true)); err != nil {
		t.Fatal(err)
	}
	all, _ := eventsOf(t, db, 5)
	want := right.Add(-time.Minute + time.Second).UnixMilli()
	if len(all) != 2 || all[0].Name != "held" || all[0].TimeMs != want || all[1].TimeMs != sure.TimeMs {
		t.Errorf("%v, want the held one at %d", all, want)
	}
	if _, err := db.RecordClock(t.Context(), boot(right.Add(time.Hour), 62*time.Minute, true)); err != nil {
		t.Fatal(err)
	}
	if again, _ := eventsOf(t, db, 5); again[0] != all[0] {
		t.Errorf("moved once more: %v", again[0])
	}
}

// TestCountsAndTheirPlaceAreStoredTogether: an update that fails leaves neither the
// samples nor the state nor the counts nor the events.
func TestCountsAndTheirPlaceAreStoredTogether(t *testing.T) {
	db := mustOpen(t, filepath.Join(t.TempDir(), "metrics.db"))
	if _, err := db.write.Exec("CREATE TEMP TRIGGER no BEFORE INSERT ON counters BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	u := Update{
		Groups:   []Group{{Samples: []metric.Sample{{Name: "a", TimeMs: 1, Value: 1}}, Events: []metric.Event{{TimeMs: 1, Source: "kernel", Name: "n"}}}},
		Status:   []status.Row{{Component: status.ReadingRow("stream.events"), Detail: `{"seqnum":7}`}},
		Counters: []metric.Count{{Name: "stream.events_total", Value: 7}},
	}
	if _, err := db.Record(t.Context(), u); err == nil {
		t.Fatal("no error")
	}
	rows, err := db.Statuses(t.Context())
	if err != nil || len(rows) != 0 {
		t.Errorf("%d rows of status, %v", len(rows), err)
	}
	if _, total := eventsOf(t, db, 5); total != 0 {
		t.Errorf("%d events", total)
	}
}
