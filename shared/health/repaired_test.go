package health

import (
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

func TestARepairIsReportedForAnHour(t *testing.T) {
	for age, want := range map[time.Duration]string{time.Hour: "degraded database_repaired", time.Hour + time.Millisecond: "ok"} {
		w := well()
		w.seen.Snapshot.Status = append(w.seen.Snapshot.Status, status.Row{
			Component: "damage", Daemon: "storage", State: status.Stopped, SuccessBootMs: -1,
			Error: "7 samples were lost", ErrorMs: wall.Add(-age).UnixMilli(), Detail: "{}",
		})
		r := Evaluate(w.seen, w.t, w.now)
		if got := verdict(r); got != want || want != "ok" && !strings.Contains(r.Reasons[0].Message, "7 samples") {
			t.Errorf("after %v: %s, want %s; %+v", age, got, want, r.Reasons)
		}
	}
}

func TestADatabaseThatWentBackIsReportedForAnHour(t *testing.T) {
	for age, want := range map[time.Duration]string{time.Hour: "degraded database_went_back", time.Hour + time.Millisecond: "ok"} {
		w := well()
		w.seen.Snapshot.Status = append(w.seen.Snapshot.Status, status.Row{
			Component: status.HistoryRow, Daemon: status.StorageRow, State: status.Stopped, SuccessBootMs: -1,
			Error: "at least 7 samples are lost", ErrorMs: wall.Add(-age).UnixMilli(), Detail: "{}",
		})
		r := Evaluate(w.seen, w.t, w.now)
		if got := verdict(r); got != want || want != "ok" && !strings.Contains(r.Reasons[0].Message, "at least 7 samples") {
			t.Errorf("after %v: %s, want %s; %+v", age, got, want, r.Reasons)
		}
	}
}
