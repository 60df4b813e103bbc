package health

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
)

// What can be seen of a daemon is its row and its lock, and neither proves
// everything alone.
func TestStatesOfDaemons(t *testing.T) {
	const s, m = time.Second, time.Minute
	taken := wall.Add(-time.Hour + s) // a second after the process started, see well
	for _, test := range []struct {
		name  string
		spoil func(w *world)
		want  string
		says  string
	}{
		// A start that fails.
		{"the shipper failed to start and said why", func(w *world) {
			w.fails("shipper", "failed to start: remote.token_file: remote.url is http to vm")
			w.seen.Locks[shipper] = Lock{Written: 22}
		}, "degraded shipper_start_failed", "remote.url is http to vm"},
		{"the collector failed to start and said why", func(w *world) {
			w.fails("collector", "failed to start: x")
			w.seen.Locks[collector] = Lock{Written: 11}
		}, "error collector_start_failed", "failed to start: x; nothing is measured"},
		{"it is started again right now", func(w *world) {
			w.fails("collector", "failed to start: x")
			w.seen.Locks[collector] = Lock{Held: true, PID: 99, Written: 99, Since: wall}
		}, "degraded collector_starting", "its last start ended with: failed to start: x"},
		{"the lock file is not there", func(w *world) {
			w.fails("shipper", "failed to start: x")
			delete(w.seen.Locks, shipper)
		}, "degraded shipper_start_failed", "x"},
		{"stopped on purpose", func(w *world) {
			w.row("shipper").State = status.Stopped
			w.seen.Locks[shipper] = Lock{}
		}, "degraded shipper_stopped", "on purpose"},
		{"stopped on purpose, and killed before the lock was emptied", func(w *world) {
			w.row("shipper").State = status.Stopped
			w.seen.Locks[shipper] = Lock{Written: 22}
		}, "degraded shipper_stopped", "on purpose"},
		{"stopped on purpose, and then started in vain without a word", func(w *world) {
			w.row("shipper").State = status.Stopped
			w.seen.Locks[shipper] = Lock{Written: 23, Since: wall.Add(-4 * s)}
		}, "degraded shipper_start_failed", "(pid 23) was started 4s ago and ended before it could store anything"},
		{"never ran, and was started in vain without a word", func(w *world) {
			w.drop("collector")
			w.seen.Locks[collector] = Lock{Written: 23, Since: wall.Add(-4 * s)}
		}, "error collector_start_failed", "journalctl -u metrics-collector"},
		{"crashed, and then started in vain without a word", func(w *world) {
			w.seen.Locks[shipper] = Lock{Written: 23, Since: wall}
		}, "degraded shipper_start_failed", "(pid 23)"},
		{"failed with a word, and then without", func(w *world) {
			w.fails("shipper", "old")
			w.seen.Locks[shipper] = Lock{Written: 23, Since: wall}
		}, "degraded shipper_start_failed", "(pid 23)"},

		// Boot ids.
		{"the row has the boot id of its container", func(w *world) {
			for _, c := range []string{"collector", "collector/cpu.usage", "collector/memory.usage", "storage", "clock"} {
				w.row(c).BootID = "container"
			}
			w.seen.Locks[collector] = Lock{Held: true, PID: 11, Written: 11, Since: taken}
		}, "ok", ""},
		{"the same, seen from outside of its pid namespace", func(w *world) {
			for _, c := range []string{"collector", "collector/cpu.usage", "collector/memory.usage", "storage", "clock"} {
				w.row(c).BootID = "container"
			}
			w.seen.Locks[collector] = Lock{Held: true, PID: 4711, Written: 11, Since: taken}
		}, "ok", ""},
		{"the same, hung: the boot clock tells although the wall clock was set back", func(w *world) {
			w.row("collector").BootID = "container"
			w.beat("collector", m)
			w.row("collector").HeartbeatMs = wall.Add(time.Hour).UnixMilli()
			w.seen.Locks[collector] = Lock{Held: true, PID: 11, Written: 11, Since: taken}
		}, "error collector_hung", "has made no progress for 1m0s; expected every 10s"},
		{"no boot id can be read here", func(w *world) { w.now.BootID = "" }, "ok", ""},
		{"no boot id could be read there", func(w *world) { w.row("shipper").BootID = "" }, "ok", ""},
		{"another boot, the pid came back, and its lock was taken at another time", func(w *world) {
			w.row("collector").BootID = "boot-0"
			w.seen.Locks[collector] = Lock{Held: true, PID: 11, Written: 11, Since: wall.Add(-s)}
		}, "degraded collector_starting", ""},
		{"another boot, the pid came back, and the clock shows what it showed then", func(w *world) {
			w.row("collector").BootID = "boot-0"
			w.row("collector").HeartbeatBootMs = (uptime + time.Hour).Milliseconds()
			w.seen.Locks[collector] = Lock{Held: true, PID: 11, Written: 11, Since: taken}
		}, "error collector_hung", "has stored nothing"},
		{"another boot, and its lock is free", func(w *world) {
			w.row("collector").BootID = "boot-0"
			w.seen.Locks[collector] = Lock{Written: 11, Since: taken}
		}, "error collector_crashed", "before the machine was restarted"},

		// A lock that cannot be read.
		{"beating, and the lock cannot be read", func(w *world) { w.seen.Locks[collector] = Lock{Fault: "input/output error"} }, "ok", ""},
		{"late, and the lock cannot be read", func(w *world) {
			w.beat("collector", m)
			w.seen.Locks[collector] = Lock{Fault: "read /x: input/output error"}
		}, "error collector_silent", "gave no heartbeat for 1m0s; whether it still runs is not known, because its lock cannot be read: read /x: input/output error"},
		{"the shipper late, and the lock cannot be read", func(w *world) {
			w.beat("shipper", 10*m)
			w.seen.Locks[shipper] = Lock{Fault: "permission denied"}
		}, "degraded shipper_silent", "permission denied; nothing is sent; samples are kept"},
		{"stopped, and the lock cannot be read", func(w *world) {
			w.row("shipper").State = status.Stopped
			w.seen.Locks[shipper] = Lock{Fault: "permission denied"}
		}, "degraded shipper_stopped", ""},

		// The configuration.
		{"no collector is enabled", func(w *world) { w.t.NoCollectors = true }, "degraded no_collectors", "enables no collector"},
		{"the configuration file was spoilt", func(w *world) { w.seen.ConfigFault = "c.yaml:3: x" }, "degraded config_invalid", "c.yaml:3: x; a daemon that is restarted does not start"},
		{"the configuration was spoilt, and nothing can be seen", func(w *world) {
			w.seen.ConfigFault = "c.yaml:3: x"
			w.seen.Fault = DatabaseMissing
		}, "error config_invalid database_missing", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := well()
			test.spoil(w)
			r := Evaluate(w.seen, w.t, w.now)
			if got := verdict(r); got != test.want {
				t.Errorf("got %s, want %s\n%s", got, test.want, r.JSON())
			}
			if !strings.Contains(fmt.Sprint(r.Reasons), test.says) {
				t.Errorf("no %q in %v", test.says, r.Reasons)
			}
			for _, reason := range r.Reasons {
				if reason.Hint == "" {
					t.Errorf("%s has no hint", reason.Code)
				}
			}
		})
	}
}

// fails makes a row that of a daemon that ended with an error.
func (w *world) fails(component, text string) {
	r := w.row(component)
	r.State, r.Error, r.ErrorMs, r.FailingSinceMs = status.Failed, text, wall.UnixMilli(), wall.Add(-time.Minute).UnixMilli()
}

func TestOnlyAnEmptyListIsNoCollectors(t *testing.T) {
	c := config.Default()
	if ThresholdsOf(c).NoCollectors {
		t.Error("the default configuration enables none")
	}
	for i := range c.Metrics {
		c.Metrics[i].Enabled = false
	}
	if !ThresholdsOf(c).NoCollectors {
		t.Error("all are disabled")
	}
	c.Metrics = nil
	if !ThresholdsOf(c).NoCollectors {
		t.Error("there is none")
	}
}

// A collector that is listed and has nothing to ask does not run, and is not missed.
func TestTheCollectorsThatRunAreTheOnesExpected(t *testing.T) {
	withServer := config.Default()
	for i := range withServer.Metrics {
		if withServer.Metrics[i].Name == "receiver.srt" {
			withServer.Metrics[i].Config.URL = "http://127.0.0.1:8181/stats"
		}
	}
	for _, c := range []config.Config{config.Default(), withServer} {
		all, err := collect.All(c, hostfs.Roots{Proc: c.Host.Procfs, Sys: c.Host.Sysfs}, "1.0")
		if err != nil {
			t.Fatal(err)
		}
		var run, expected []string
		for _, s := range all {
			run = append(run, s.Name)
		}
		for _, e := range ThresholdsOf(c).Expected {
			expected = append(expected, e.Name)
		}
		if diff := cmp.Diff(run, expected); diff != "" {
			t.Errorf("run and expected: %s", diff)
		}
	}
	if len(ThresholdsOf(withServer).Expected) != len(ThresholdsOf(config.Default()).Expected)+1 {
		t.Error("receiver.srt with a server is not expected")
	}
}

func TestALockThatCannotBeReadIsNotAFreeOne(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	w := b.watch(t)
	w.host.Lock = func(string) (Lock, error) { return Lock{}, errors.New("input/output error") }
	if seen := w.observe(t.Context()); seen.Locks[collector].Fault == "" || seen.Locks[shipper].Fault == "" {
		t.Errorf("%+v", seen.Locks)
	}
	if got := verdict(w.Once(t.Context())); got != "ok" {
		t.Error(got)
	}
}
