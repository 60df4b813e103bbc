package health

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	bootID = "boot-1"
	uptime = 10 * time.Hour
)

var wall = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// A world is a board on which all is well, to be spoiled by one thing.
type world struct {
	seen Observation
	t    Thresholds
	now  Moment
}

func well() *world {
	w := &world{
		now: Moment{status.Moment{Wall: wall, Boot: uptime}, bootID},
		t:   ThresholdsOf(config.Default()),
	}
	w.t.Expected = []Expected{{"cpu.usage", 10 * time.Second}, {"memory.usage", 30 * time.Second}}
	row := func(component, daemon string, pid int, interval time.Duration) status.Row {
		return status.Row{
			Component: component, Daemon: daemon, State: status.Running, PID: pid, Version: "1.0", BootID: bootID,
			StartedMs: wall.Add(-time.Hour).UnixMilli(), IntervalMs: interval.Milliseconds(),
			HeartbeatMs: wall.Add(-time.Second).UnixMilli(), HeartbeatBootMs: (uptime - time.Second).Milliseconds(),
			SuccessMs: wall.Add(-time.Second).UnixMilli(), SuccessBootMs: (uptime - time.Second).Milliseconds(),
			Succeeded: 100, Detail: "{}",
		}
	}
	w.seen.Snapshot = store.Snapshot{
		Status: []status.Row{
			row("clock", collector, 11, 0),
			row("collector", collector, 11, 10*time.Second),
			row("collector/cpu.usage", collector, 11, 10*time.Second),
			row("collector/memory.usage", collector, 11, 30*time.Second),
			row("shipper", shipper, 22, 30*time.Second),
			row("skew", shipper, 22, 5*time.Minute),
			row("storage", collector, 11, 10*time.Second),
		},
		Ledger:     store.Ledger{Captured: 1000, Delivered: 990, Pending: 10},
		Sizes:      store.Sizes{Database: 1 << 20, WAL: 4 << 20},
		OldestMs:   wall.Add(-time.Hour).UnixMilli(),
		PendingMs:  wall.Add(-5 * time.Second).UnixMilli(),
		DeliveryMs: wall.Add(-time.Second).UnixMilli(),
	}
	w.seen.Locks = map[string]Lock{collector: {Held: true, PID: 11}, shipper: {Held: true, PID: 22}}
	return w
}

func (w *world) row(component string) *status.Row {
	i := slices.IndexFunc(w.seen.Snapshot.Status, func(s status.Row) bool { return s.Component == component })
	return &w.seen.Snapshot.Status[i]
}

func (w *world) drop(component string) {
	w.seen.Snapshot.Status = slices.DeleteFunc(w.seen.Snapshot.Status, func(s status.Row) bool { return s.Component == component })
}

// beat sets how old a component's heartbeat is.
func (w *world) beat(component string, age time.Duration) {
	r := w.row(component)
	r.HeartbeatMs, r.HeartbeatBootMs = wall.Add(-age).UnixMilli(), (uptime - age).Milliseconds()
}

// shipping sets how the shipper's last request went, how often it is due, and how
// old its heartbeat is.
func (w *world) shipping(outcome string, every, age time.Duration) {
	w.beat("shipper", age)
	r := w.row("shipper")
	r.Detail, r.IntervalMs = fmt.Sprintf(`{"outcome":%q}`, outcome), every.Milliseconds()
}

// delivered sets how old the last delivery is.
func (w *world) delivered(age time.Duration) {
	r := w.row("shipper")
	r.SuccessMs, r.SuccessBootMs = wall.Add(-age).UnixMilli(), (uptime - age).Milliseconds()
	w.seen.Snapshot.DeliveryMs = r.SuccessMs
	w.seen.Snapshot.PendingMs = r.SuccessMs // and samples came right after it
}

// neverDelivered makes it a new board whose oldest sample has the given age.
func (w *world) neverDelivered(age time.Duration) {
	r := w.row("shipper")
	r.SuccessMs, r.SuccessBootMs = 0, -1
	w.seen.Snapshot.DeliveryMs = 0
	w.seen.Snapshot.Ledger = store.Ledger{Captured: 10, Pending: 10}
	w.seen.Snapshot.PendingMs = wall.Add(-age).UnixMilli()
}

// clock sets what the collector thinks of the clock, and since when.
func (w *world) clock(trusted bool, since time.Duration) {
	w.row("clock").Detail = fmt.Sprintf(`{"clock_trusted":%v,"trusted_by":"kernel","ntp_synced":true,"held_since_ms":%d}`, trusted, wall.Add(-since).UnixMilli())
}

func (w *world) pending(n int64) { w.seen.Snapshot.Ledger.Pending = n }

// verdict is the status and the codes, worst first.
func verdict(r Report) string {
	words := []string{string(r.Status)}
	for _, reason := range r.Reasons {
		words = append(words, string(reason.Code))
	}
	slices.Sort(words[1:])
	return strings.Join(words, " ")
}

func TestEvaluate(t *testing.T) {
	const s, m, ms = time.Second, time.Minute, time.Millisecond
	minutesAgo := func(d time.Duration) int64 { return wall.Add(-d).UnixMilli() }
	for _, test := range []struct {
		name  string
		spoil func(w *world)
		want  string
	}{
		{"all is well", func(*world) {}, "ok"},

		// The way to the server: 2 x 30 s, 20 x 30 s.
		{"delivery below the degraded age", func(w *world) { w.delivered(60*s - ms) }, "ok"},
		{"delivery at the degraded age", func(w *world) { w.delivered(60 * s) }, "ok"},
		{"delivery above the degraded age", func(w *world) { w.delivered(60*s + ms) }, "degraded upload_late"},
		{"nothing pending is never late", func(w *world) { w.delivered(60 * m); w.pending(0) }, "ok"},
		{"samples that came long after the last delivery are late from then on", func(w *world) {
			w.delivered(10 * m)
			w.seen.Snapshot.PendingMs = minutesAgo(60 * s)
		}, "ok"},
		{"an old backlog is not late while the newest are delivered", func(w *world) {
			w.delivered(60 * s)
			w.seen.Snapshot.PendingMs = minutesAgo(24 * 60 * m)
		}, "ok"},
		{"a sample from a clock that was set back", func(w *world) {
			w.delivered(60*s + ms)
			w.seen.Snapshot.PendingMs = minutesAgo(-24 * 60 * m)
		}, "degraded upload_late"},
		{"pending below degraded", func(w *world) { w.pending(4999) }, "ok"},
		{"pending at degraded", func(w *world) { w.pending(5000) }, "ok"},
		{"pending above degraded", func(w *world) { w.pending(5001) }, "degraded pending_high"},
		{"pending above error alone", func(w *world) { w.pending(10001) }, "degraded pending_high"},
		{"age above error alone", func(w *world) { w.delivered(10*m + ms); w.pending(5000) }, "degraded upload_late"},
		{"age at error, pending above", func(w *world) { w.delivered(10 * m); w.pending(10001) }, "degraded pending_high upload_late"},
		{"age above error, pending at", func(w *world) { w.delivered(10*m + ms); w.pending(10000) }, "degraded pending_high upload_late"},
		{"age and pending above error", func(w *world) { w.delivered(10*m + ms); w.pending(10001) }, "error pending_high upload_stuck"},
		{"age below error, pending above", func(w *world) { w.delivered(10*m - ms); w.pending(10001) }, "degraded pending_high upload_late"},
		{"thresholds follow the interval", func(w *world) {
			c := config.Default()
			c.Remote.UploadInterval = time.Minute
			w.t = ThresholdsOf(c)
			w.t.Expected = nil
			w.delivered(120 * s)
		}, "ok"},
		{"a threshold that is set wins", func(w *world) {
			c := config.Default()
			c.Health.DegradedThreshold.UploadAgeSeconds = 15
			w.t = ThresholdsOf(c)
			w.t.Expected = nil
			w.delivered(15*s + ms)
		}, "degraded upload_late"},
		{"new board, young samples", func(w *world) { w.neverDelivered(60 * s) }, "degraded no_delivery_yet"},
		{"new board, old samples", func(w *world) { w.neverDelivered(60*s + ms) }, "degraded upload_late"},
		{"new board, old samples in heaps", func(w *world) { w.neverDelivered(10*m + ms); w.pending(10001) }, "error pending_high upload_stuck"},
		{"the time the machine was off does not count", func(w *world) {
			w.delivered(24 * time.Hour)
			w.row("shipper").BootID = bootID
			w.row("shipper").SuccessBootMs = -1
			w.now.Boot = 20 * s
			for i := range w.seen.Snapshot.Status {
				w.seen.Snapshot.Status[i].HeartbeatBootMs = 19000
			}
		}, "ok"},
		{"a clock that was set does not make a delivery old", func(w *world) {
			w.delivered(10 * s)
			w.seen.Snapshot.PendingMs = minutesAgo(10 * m)
			w.now.Wall = wall.Add(50 * 365 * 24 * time.Hour)
			w.t.Expected = nil
		}, "ok"},
		{"uploads that are turned off", func(w *world) {
			w.t.Remote = false
			w.drop("shipper")
			w.pending(100000)
			w.seen.Snapshot.DeliveryMs = 0
		}, "ok"},
		{"misconfigured", func(w *world) { w.row("shipper").Detail = `{"misconfigured":"HTTP 401","http_status":401}` }, "degraded shipper_misconfigured"},
		{"budget spent", func(w *world) { w.row("shipper").Detail = `{"budget_spent":true}` }, "degraded upload_budget_spent"},
		{"a detail of the wrong shape", func(w *world) { w.row("shipper").Detail = `{"outcome":7,"budget_spent":"x"` }, "ok"},

		// The daemons: late 10 s after their interval, the shipper as it goes.
		{"collector at its patience", func(w *world) { w.beat("collector", 20*s) }, "ok"},
		{"collector frozen", func(w *world) { w.beat("collector", 20*s+ms) }, "error collector_hung"},
		{"collector killed a moment ago", func(w *world) { w.seen.Locks[collector] = Lock{Held: false, PID: 11} }, "error collector_crashed"},
		{"collector killed long ago", func(w *world) { w.beat("collector", time.Hour); w.seen.Locks[collector] = Lock{Held: false, PID: 11} }, "error collector_crashed"},
		{"collector stopped", func(w *world) {
			w.row("collector").State = status.Stopped
			w.seen.Locks[collector] = Lock{}
		}, "error collector_stopped"},
		{"collector started again", func(w *world) { w.seen.Locks[collector] = Lock{Held: true, PID: 12} }, "degraded collector_starting"},
		{"collector at the end of its start", func(w *world) {
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-20 * s)}
		}, "degraded collector_starting"},
		{"collector that does not get through its start", func(w *world) {
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-20*s - ms)}
		}, "error collector_hung"},
		{"collector at the end of its first start", func(w *world) {
			w.drop("collector")
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-20 * s)}
		}, "degraded collector_starting"},
		{"collector that does not get through its first start", func(w *world) {
			w.drop("collector")
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-20*s - ms)}
		}, "error collector_hung"},
		{"a long interval gives a longer start", func(w *world) {
			w.row("collector").IntervalMs = 60_000
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-70 * s)}
		}, "degraded collector_starting"},
		{"a long interval does not give it for ever", func(w *world) {
			w.row("collector").IntervalMs = 60_000
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-70*s - ms)}
		}, "error collector_hung"},
		{"a start before the wall clock was set", func(w *world) {
			w.now.Boot = 20 * s
			w.row("collector").BootID = "boot-0"
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: time.Unix(10, 0)}
			for _, name := range []string{"collector/cpu.usage", "collector/memory.usage", "shipper"} {
				w.row(name).HeartbeatBootMs, w.row(name).SuccessBootMs = 19000, 19000
			}
		}, "degraded collector_starting"},
		{"troubles of a collector are not those of the one that hangs after it", func(w *world) {
			w.row("collector").FailingSinceMs, w.row("collector").Error = minutesAgo(m), "disk full"
			w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-m)}
		}, "error collector_hung"},
		{"collector never ran", func(w *world) {
			w.drop("collector")
			w.seen.Locks[collector] = Lock{}
		}, "error collector_never_ran"},
		{"collector's lock cannot be asked about, beating", func(w *world) { delete(w.seen.Locks, collector) }, "ok"},
		{"collector's lock cannot be asked about, late", func(w *world) { delete(w.seen.Locks, collector); w.beat("collector", m) }, "error collector_crashed"},
		{"machine restarted, collector with the same pid not up yet", func(w *world) { w.row("collector").BootID = "boot-0" }, "degraded collector_starting"},
		{"machine restarted, collector not started", func(w *world) {
			w.row("collector").BootID = "boot-0"
			w.seen.Locks[collector] = Lock{Held: false, PID: 11}
		}, "error collector_crashed"},
		{"collector cannot store", func(w *world) {
			w.row("collector").FailingSinceMs, w.row("collector").Error = minutesAgo(m), "disk full"
		}, "error collector_failing"},
		{"shipper that delivers, at two intervals", func(w *world) { w.shipping("delivered", 30*s, 60*s) }, "ok"},
		{"shipper that delivers, above two intervals", func(w *world) { w.shipping("delivered", 30*s, 60*s+ms) }, "degraded shipper_hung"},
		{"idle shipper above two intervals", func(w *world) { w.shipping("idle", 30*s, 60*s+ms) }, "degraded shipper_hung"},
		{"shipper of a short interval, at two intervals", func(w *world) { w.shipping("delivered", 5*s, 10*s) }, "ok"},
		{"shipper of a short interval, above two intervals", func(w *world) { w.shipping("delivered", 5*s, 10*s+ms) }, "degraded shipper_hung"},
		{"shipper of the shortest interval, at a slow disk's time", func(w *world) { w.shipping("delivered", s, 6*s) }, "ok"},
		{"shipper of the shortest interval, above it", func(w *world) { w.shipping("delivered", s, 6*s+ms) }, "degraded shipper_hung"},
		{"shipper of a long interval, at an interval and a request", func(w *world) { w.shipping("delivered", 10*m, 10*m+35*s) }, "ok"},
		{"shipper of a long interval, above it", func(w *world) { w.shipping("delivered", 10*m, 10*m+35*s+ms) }, "degraded shipper_hung"},
		{"shipper whose requests fail, at an interval and a request", func(w *world) { w.shipping("later", 5*s, 40*s) }, "ok"},
		{"shipper whose requests fail, above it", func(w *world) { w.shipping("later", 5*s, 40*s+ms) }, "degraded shipper_hung"},
		{"shipper that says nothing of its requests, at its patience", func(w *world) { w.shipping("", 30*s, 65*s) }, "ok"},
		{"shipper that says nothing of its requests, above it", func(w *world) { w.shipping("", 30*s, 65*s+ms) }, "degraded shipper_hung"},
		{"shipper at the end of its start", func(w *world) {
			w.seen.Locks[shipper] = Lock{Held: true, PID: 23, Since: wall.Add(-70 * s)}
		}, "degraded shipper_starting"},
		{"shipper that does not get through its start", func(w *world) {
			w.seen.Locks[shipper] = Lock{Held: true, PID: 23, Since: wall.Add(-70*s - ms)}
		}, "degraded shipper_hung"},
		{"shipper stopped", func(w *world) {
			w.row("shipper").State = status.Stopped
			w.seen.Locks[shipper] = Lock{}
		}, "degraded shipper_stopped"},
		{"shipper killed", func(w *world) { w.seen.Locks[shipper] = Lock{Held: false, PID: 22} }, "degraded shipper_crashed"},
		{"shipper started again", func(w *world) { w.seen.Locks[shipper] = Lock{Held: true, PID: 23} }, "degraded shipper_starting"},
		{"shipper never ran", func(w *world) { w.drop("shipper"); delete(w.seen.Locks, shipper) }, "degraded shipper_never_ran"},

		// The collectors.
		{"one collector failing", func(w *world) {
			r := w.row("collector/cpu.usage")
			r.FailingSinceMs, r.Error, r.SuccessMs = minutesAgo(m), "no such file", minutesAgo(m)
		}, "degraded reading_failing"},
		{"one collector reading a part only", func(w *world) {
			w.row("collector/cpu.usage").FailingSinceMs = minutesAgo(m)
			w.row("collector/memory.usage").FailingSinceMs = minutesAgo(m)
		}, "degraded reading_failing reading_failing"},
		{"all collectors failing", func(w *world) {
			for _, name := range []string{"collector/cpu.usage", "collector/memory.usage"} {
				w.row(name).FailingSinceMs, w.row(name).SuccessMs = minutesAgo(m), 0
			}
		}, "error all_readings_failing reading_failing reading_failing"},
		{"a collector at its patience", func(w *world) { w.beat("collector/cpu.usage", 20*s) }, "ok"},
		{"a collector silent", func(w *world) { w.beat("collector/cpu.usage", 20*s+ms) }, "degraded reading_silent"},
		{"a collector that did not run yet after a start", func(w *world) {
			w.beat("collector/cpu.usage", time.Hour)
			w.row("collector").StartedMs = minutesAgo(20 * s)
		}, "ok"},
		{"a collector that does not run after a start", func(w *world) {
			w.beat("collector/cpu.usage", time.Hour)
			w.row("collector").StartedMs = minutesAgo(20*s + ms)
		}, "degraded reading_silent"},
		{"a configured collector that is not there", func(w *world) { w.drop("collector/memory.usage") }, "degraded reading_silent"},
		{"a configured collector that may still come", func(w *world) {
			w.drop("collector/memory.usage")
			w.row("collector").StartedMs = minutesAgo(40 * s)
		}, "ok"},
		{"a configured collector on a board whose clock was just set", func(w *world) {
			w.drop("collector/memory.usage")
			w.now.Boot = 40 * s
			w.row("collector").StartedMs = 1000
			for i := range w.seen.Snapshot.Status {
				w.seen.Snapshot.Status[i].HeartbeatBootMs, w.seen.Snapshot.Status[i].SuccessBootMs = 39000, 39000
			}
		}, "ok"},
		{"collectors of a stopped daemon are not blamed", func(w *world) {
			w.row("collector").State = status.Stopped
			w.beat("collector/cpu.usage", time.Hour)
			w.seen.Locks[collector] = Lock{}
		}, "error collector_stopped"},
		{"no sample yet", func(w *world) {
			w.neverDelivered(0)
			w.seen.Snapshot.Ledger = store.Ledger{}
		}, "degraded no_delivery_yet no_samples_yet"},

		// The storage.
		{"storage failing", func(w *world) {
			w.row("storage").FailingSinceMs, w.row("storage").Error = minutesAgo(m), "disk full"
		}, "error storage_failing"},
		{"log at its limit", func(w *world) { w.seen.Snapshot.Sizes.WAL = 128 << 20 }, "ok"},
		{"log above its limit", func(w *world) { w.seen.Snapshot.Sizes.WAL = 128<<20 + 1 }, "degraded wal_large"},
		{"checkpoint kept for the limit", func(w *world) {
			w.row("storage").Detail = fmt.Sprintf(`{"checkpoint_busy_since_ms":%d}`, minutesAgo(10*m))
		}, "ok"},
		{"checkpoint kept for longer", func(w *world) {
			w.row("storage").Detail = fmt.Sprintf(`{"checkpoint_busy_since_ms":%d}`, minutesAgo(10*m+ms))
		}, "degraded checkpoint_blocked"},
		{"no room for a heartbeat", func(w *world) {
			w.seen.DiskFull = "only 0 KiB are free"
			for _, program := range []string{"collector", "shipper"} {
				w.row(program).HeartbeatMs, w.row(program).HeartbeatBootMs = minutesAgo(10*m), w.row(program).HeartbeatBootMs-600_000
			}
		}, "error disk_full"},
		{"less room than is to be kept", func(w *world) {
			w.row("storage").Detail = `{"free_bytes":1000000,"free_bytes_short":2000000}`
		}, "degraded disk_low"},
		{"too many series", func(w *world) {
			w.row("storage").Detail = `{"series":20000,"series_limit":20000,"series_full_since_ms":1}`
		}, "degraded series_limit"},
		{"samples deleted for room", func(w *world) { w.row("storage").Detail = `{"evicting":"delivered"}` }, "degraded samples_evicted"},
		{"troubles of a daemon that is gone are over", func(w *world) {
			w.row("storage").FailingSinceMs, w.row("collector").FailingSinceMs = minutesAgo(m), minutesAgo(m)
			w.row("storage").Detail = `{"evicting":"delivered","free_bytes_short":1,"checkpoint_busy_since_ms":1}`
			w.seen.Locks[collector] = Lock{}
			w.row("shipper").Detail = `{"budget_spent":true,"misconfigured":"x"}`
			w.seen.Locks[shipper] = Lock{}
		}, "error collector_crashed shipper_crashed"},
		{"books that do not balance", func(w *world) { w.pending(-1) }, "error ledger_unbalanced"},
		{"a loss within the hour", func(w *world) {
			w.seen.Snapshot.Losses = []store.Loss{{Reason: "disk_full", Count: 3, LastMs: minutesAgo(60 * m)}}
		}, "degraded samples_lost"},
		{"a loss longer ago", func(w *world) {
			w.seen.Snapshot.Losses = []store.Loss{{Reason: "disk_full", Count: 3, LastMs: minutesAgo(60*m + ms)}}
		}, "ok"},
		{"a rejection within the hour", func(w *world) { w.seen.RejectedMs = minutesAgo(60 * m) }, "degraded samples_rejected"},
		{"a rejection longer ago", func(w *world) { w.seen.RejectedMs = minutesAgo(60*m + ms) }, "ok"},

		// The clock.
		{"skew at the threshold", func(w *world) { w.row("skew").Detail = `{"skew_ms":2000,"error_ms":0}` }, "ok"},
		{"skew above the threshold", func(w *world) { w.row("skew").Detail = `{"skew_ms":2000.5}` }, "degraded clock_skew"},
		{"skew behind", func(w *world) { w.row("skew").Detail = `{"skew_ms":-2001}` }, "degraded clock_skew"},
		{"skew within its error", func(w *world) { w.row("skew").Detail = `{"skew_ms":2900,"error_ms":1000}` }, "ok"},
		{"clock not trusted for the patience", func(w *world) { w.clock(false, 10*m) }, "ok"},
		{"clock not trusted for longer", func(w *world) { w.clock(false, 10*m+ms) }, "degraded clock_not_trusted"},
		{"clock trusted", func(w *world) { w.clock(true, time.Hour) }, "ok"},
		{"what an earlier boot thought of the clock", func(w *world) { w.clock(false, time.Hour); w.row("clock").BootID = "boot-0" }, "ok"},
		{"samples of an earlier boot stay held", func(w *world) { w.clock(true, 0); w.seen.Snapshot.Ledger.Held = 5 }, "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := well()
			test.spoil(w)
			r := Evaluate(w.seen, w.t, w.now)
			if got := verdict(r); got != test.want {
				t.Errorf("got  %s\nwant %s\n%+v", got, test.want, r.Reasons)
			}
			for _, reason := range r.Reasons {
				if reason.Message == "" || reason.Component == "" || reason.Since == "" || reason.Severity != StatusDegraded && reason.Severity != StatusError {
					t.Errorf("incomplete: %+v", reason)
				}
			}
		})
	}
}

func TestADatabaseThatCannotBeReadIsAnError(t *testing.T) {
	for fault, err := range map[Code]error{
		DatabaseForeign:    store.ErrForeign,
		DatabaseNewer:      fmt.Errorf("open: %w", store.ErrNewerSchema),
		DatabaseUnreadable: errors.New("input/output error"),
	} {
		code, text := faultOf(err, "metrics.db")
		r := Evaluate(Observation{Fault: code, FaultText: text}, well().t, well().now)
		if want := "error " + string(fault); verdict(r) != want || r.Uploader.Status == StatusOK || r.Storage.Status == StatusOK || r.Ready {
			t.Errorf("%v: %s, want %s; %+v", err, verdict(r), want, r)
		}
	}
}

func TestAStartThatHangsReportsItsDuration(t *testing.T) {
	w := well()
	w.seen.Locks[collector] = Lock{Held: true, PID: 12, Since: wall.Add(-45 * time.Second)}
	r := Evaluate(w.seen, w.t, w.now)
	want := []Reason{{
		CollectorHung, "collector", StatusError, "metrics-collector (pid 12) has been running for 45s and has stored nothing; nothing is measured",
		"2026-07-01T11:59:15Z", hints[CollectorHung],
	}}
	if diff := cmp.Diff(want, r.Reasons); diff != "" {
		t.Error(diff)
	}
	if d := r.Daemons[collector]; d.State != Hung || d.Status != StatusError {
		t.Errorf("%+v", d)
	}
}

func TestTheReportHasTheFactsOfEachTable(t *testing.T) {
	w := well()
	r := w.row("collector/cpu.usage")
	r.Error, r.ErrorMs, r.Failed = "garbled", wall.Add(-time.Hour).UnixMilli(), 3
	w.row("skew").Detail = `{"skew_ms":-120.5,"error_ms":500}`
	w.clock(true, 0)
	got := Evaluate(w.seen, w.t, w.now)
	age, skew, bound, synced, words := 1.0, -120.5, 500.0, true, "garbled"
	if diff := cmp.Diff(Collector{
		Status: StatusOK, LastCollection: "2026-07-01T11:59:59Z", MetricsCollected: 100,
		Facts: Facts{
			PID: 11, Version: "1.0", Started: "2026-07-01T11:00:00Z", IntervalSeconds: 10, HeartbeatSeconds: &age,
			LastSuccess: "2026-07-01T11:59:59Z", LastError: &words, LastErrorAt: "2026-07-01T11:00:00Z", Succeeded: 100, Failed: 3,
		},
	}, got.Collectors["cpu.usage"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Time{Status: StatusOK, Local: "2026-07-01T12:00:00Z", SkewMs: &skew, SkewErrorMs: &bound, NTPSynced: &synced, Trusted: &synced, TrustedBy: "kernel"}, got.Time); diff != "" {
		t.Error(diff)
	}
	if d := got.Daemons[shipper]; d.State != Running || d.PID != 22 || d.Status != StatusOK {
		t.Errorf("%+v", d)
	}
	if got.Uploader.LastUpload != "2026-07-01T11:59:59Z" || got.Uploader.MetricsUploaded != 990 || *got.Uploader.UploadAge != 1 || !got.Ready {
		t.Errorf("%+v", got.Uploader)
	}
}

func TestDamperKeepsAReasonThatKeepsComingBack(t *testing.T) {
	d := damper{base: 30 * time.Second}
	var shown []string
	// Late for one second of each minute.
	for second := range 8 * 60 {
		w := well()
		w.now.Boot += time.Duration(second) * time.Second
		w.now.Wall = wall.Add(time.Duration(second) * time.Second)
		r := Report{Status: StatusOK}
		if second%60 == 10 {
			r.Reasons = []Reason{{Code: UploadLate, Component: "shipper", Severity: StatusDegraded, Message: "late", Since: stamp(w.now.Wall.UnixMilli())}}
		}
		d.settle(&r, w.now, false)
		if len(shown) == 0 || shown[len(shown)-1][strings.Index(shown[len(shown)-1], " ")+1:] != string(r.Status) {
			shown = append(shown, fmt.Sprintf("%d %s", second, r.Status))
		}
	}
	// Gone at once the first time, then kept 30 s, then until it comes again.
	want := []string{"0 ok", "10 degraded", "11 ok", "70 degraded", "100 ok", "130 degraded"}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}
}

func TestDamperForgetsAndKeepsTheBeginning(t *testing.T) {
	d := damper{base: 30 * time.Second}
	at := func(second int, since string) string {
		r := Report{Status: StatusOK}
		if since != "" {
			r.Reasons = []Reason{{Code: PendingHigh, Component: "shipper", Severity: StatusDegraded, Message: "many", Since: since}}
		}
		d.settle(&r, Moment{Moment: status.Moment{Wall: wall, Boot: time.Duration(second) * time.Second}}, false)
		if len(r.Reasons) == 0 {
			return string(r.Status)
		}
		return string(r.Status) + " " + r.Reasons[0].Since
	}
	got := []string{at(1, "T1"), at(2, "T2"), at(3, ""), at(700, ""), at(701, "T7"), at(702, "")}
	want := []string{"degraded T1", "degraded T1", "ok", "ok", "degraded T7", "ok"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDamperDoesNotChangeWhileTheDatabaseCannotBeRead(t *testing.T) {
	d := damper{base: 30 * time.Second}
	at := func(second int, reasons ...Reason) string {
		r := Report{Reasons: reasons}
		blind := len(reasons) > 0 && reasons[0].Component == "storage"
		d.settle(&r, Moment{Moment: status.Moment{Wall: wall, Boot: time.Duration(second) * time.Second}}, blind)
		said := string(r.Status)
		for _, reason := range r.Reasons {
			said += " " + string(reason.Code) + " " + reason.Since + " " + reason.Message
		}
		return said
	}
	stopped := func(since string) Reason {
		return Reason{Code: ShipperStopped, Component: "shipper", Severity: StatusDegraded, Message: "stopped", Since: since}
	}
	missing := func(since string) Reason {
		return Reason{Code: DatabaseMissing, Component: "storage", Severity: StatusError, Message: "missing", Since: since}
	}
	locked := func(since string) Reason {
		return Reason{Code: DatabaseLocked, Component: "storage", Severity: StatusError, Message: "locked", Since: since}
	}
	got := []string{
		at(1000, stopped("T1")),
		at(1001, missing("T2")), // stopped all along
		at(1002, missing("T3")),
		at(9000, missing("T4")),
		at(9001, stopped("T5")),
		at(9002), // never came back, so it is not kept
		at(9003, stopped("T6")),
		at(9013), // came back: kept
		at(9014, locked("T7")),
		at(9999, locked("T8")), // not announced, and not aged
		at(10000, stopped("T9")),
	}
	want := []string{
		"degraded shipper_stopped T1 stopped",
		"error database_missing T2 missing",
		"error database_missing T2 missing",
		"error database_missing T2 missing",
		"degraded shipper_stopped T1 stopped",
		"ok",
		"degraded shipper_stopped T6 stopped",
		"degraded shipper_stopped T6 resolved 10s ago, still shown because it keeps recurring: stopped",
		"error database_locked T7 locked",
		"error database_locked T7 locked",
		"degraded shipper_stopped T6 stopped",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 850 * time.Millisecond: "850ms", 14 * time.Second: "14s", 60 * time.Second: "1m0s",
		200 * time.Second: "3m20s", 5*time.Hour + 10*time.Minute: "5h10m", 76 * time.Hour: "3d4h",
	} {
		if got := human(d); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}
