package tests

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

const rulesPath = "../docker/vmalert/rules.yml"

// A curve is a series of a board that an alert is tried on: its value at a
// minute, absent for no sample.
type curve struct {
	name     string
	tags     []string
	at       func(minute float64) float64
	from, to float64 // in minutes; to 0 is three hours
}

var absent = math.NaN()

func steady(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func perMinute(v float64) func(float64) float64 {
	return func(m float64) float64 { return math.Floor(v * m) }
}

// between is one value from minute from until minute to, and another otherwise.
func between(from, to, inside, outside float64) func(float64) float64 {
	return func(m float64) float64 {
		if m >= from && m < to {
			return inside
		}
		return outside
	}
}

// until counts up to minute m and then stands still.
func until(stop, rate float64) func(float64) float64 {
	return func(m float64) float64 { return math.Floor(rate * min(m, stop)) }
}

// pulledOut counts up to minute m and is not there any more.
func pulledOut(stop, rate float64) func(float64) float64 {
	return func(m float64) float64 {
		if m >= stop {
			return absent
		}
		return math.Floor(rate * m)
	}
}

// A trial is a board and whether it is to fire.
type trial struct {
	alert, board string
	fires        bool
	curves       []curve
}

func link(name string, at func(float64) float64) curve {
	return curve{name: "network.tx_bytes_total", tags: []string{"interface", name}, at: at}
}

func stream(link string, at func(float64) float64) curve {
	return curve{name: "stream.link_bits_per_second", tags: []string{"link", link}, at: at}
}

func of(name string, at func(float64) float64, tags ...string) curve {
	return curve{name: name, tags: tags, at: at}
}

// since makes the curves begin earlier, at a minute below 0.
func since(minute float64, curves []curve) []curve {
	for i := range curves {
		curves[i].from = minute
	}
	return curves
}

func trials() []trial {
	all := []string{"core", "all"}
	uptime := of("system.uptime_seconds", perMinute(60))
	cpu := func(at func(float64) float64) []curve { return []curve{of("cpu.usage_percent", at, all...)} }
	one := func(name string, at func(float64) float64, tags ...string) []curve {
		return []curve{of(name, at, tags...)}
	}
	return []trial{
		{"BoardSilent", "gone", true, one("system.uptime_seconds", between(100, 999, absent, 1))},
		{"BoardSilent", "for two days", true, since(-2900, one("system.uptime_seconds", between(-2890, 999, absent, 1)))},
		{"BoardSilent", "for six days", true, since(-8700, one("system.uptime_seconds", between(-8640, 999, absent, 1)))},
		{"BoardSilent", "nine minutes", false, one("system.uptime_seconds", between(100, 109, absent, 1))},
		{"BoardSilent", "other collectors off", false, []curve{uptime}},

		{"ProcessorBusy", "six minutes", true, cpu(between(100, 108, 95, 40))},
		{"ProcessorBusy", "four minutes", false, cpu(between(100, 104, 95, 40))},
		{"ProcessorBusy", "90 exactly", false, cpu(steady(90))},
		{"ProcessorBusy", "one core", false, one("cpu.usage_percent", steady(100), "core", "0")},

		{"MemoryLow", "90 MB", true, one("memory.available_bytes", between(100, 110, 90<<20, 1<<30))},
		{"MemoryLow", "110 MB", false, one("memory.available_bytes", steady(110<<20))},

		{"ZoneHot", "86", true, one("thermal.zone_temp", between(100, 110, 86, 60), "index", "1", "zone", "gpu-thermal")},
		{"ZoneHot", "85", false, one("thermal.zone_temp", steady(85), "index", "1", "zone", "gpu-thermal")},

		{"DiskWillFill", "fills", true, one("disk.available_bytes", func(m float64) float64 { return 4e9 - 2e7*m }, "mountpoint", "/")},
		{"DiskWillFill", "steady", false, one("disk.available_bytes", steady(4e9), "mountpoint", "/")},
		{"DiskWillFill", "slowly", false, one("disk.available_bytes", func(m float64) float64 { return 4e9 - 1e6*m }, "mountpoint", "/")},

		{"DiskFull", "2 %", true, append(one("disk.available_bytes", between(100, 120, 1e9, 9e9), "mountpoint", "/"), of("disk.total_bytes", steady(50e9), "mountpoint", "/"))},
		{"DiskFull", "4 %", false, append(one("disk.available_bytes", steady(2e9), "mountpoint", "/"), of("disk.total_bytes", steady(50e9), "mountpoint", "/"))},

		{"DaemonRestarts", "each six minutes", true, one("process.cpu_seconds_total", func(m float64) float64 { return math.Mod(m, 6) }, "daemon", "metrics-shipper")},
		{"DaemonRestarts", "each half hour", false, one("process.cpu_seconds_total", func(m float64) float64 { return math.Mod(m, 30) }, "daemon", "metrics-shipper")},

		{"BoardReboots", "each half hour", true, one("system.uptime_seconds", func(m float64) float64 { return 60 * math.Mod(m, 30) })},
		{"BoardReboots", "twice", false, one("system.uptime_seconds", func(m float64) float64 { return 60 * math.Mod(m, 80) })},

		{"LinkDead", "stands still", true, []curve{link("wwan0", until(100, 6e6)), link("usb0", perMinute(6e6))}},
		{"LinkDead", "was pulled out", true, []curve{link("enx0c5b8f279a64", pulledOut(100, 6e6)), link("usb0", perMinute(6e6))}},
		{"LinkDead", "a wired port named by its slot works", true, []curve{link("wwan0", until(100, 6e6)), link("enP4p65s0", perMinute(6e6))}},
		{"LinkDead", "all dead", false, []curve{link("wwan0", until(100, 6e6)), link("usb0", until(100, 6e6))}},
		{"LinkDead", "never used", false, []curve{link("wwan0", steady(12)), link("usb0", perMinute(6e6))}},
		{"LinkDead", "no link of the board's", false, []curve{link("wlan0", until(100, 6e6)), link("usb0", perMinute(6e6))}},
		{"LinkDead", "plugged in anew", false, []curve{link("wwan0", func(m float64) float64 { return math.Floor(6e6 * math.Mod(m, 50)) }), link("usb0", perMinute(6e6))}},

		{"StreamStopped", "the connection failed", true, []curve{of("stream.active", between(60, 100, 1, 0)), of("stream.events_total", between(0, 100, 3, 4), "event", "srt_failed")}},
		{"StreamStopped", "the program was killed", true, []curve{of("stream.active", between(60, 100, 1, 0)), of("unit.failures_total", between(0, 100, 3, 4), "unit", "belaUI.service", "result", "signal")}},
		{"StreamStopped", "by the operator", false, []curve{of("stream.active", between(60, 100, 1, 0)), of("stream.events_total", steady(4), "event", "srt_failed"), of("stream.events_total", perMinute(0.1), "event", "pipeline_started")}},
		{"StreamStopped", "it goes on", false, []curve{of("stream.active", steady(1)), of("stream.events_total", between(0, 100, 3, 4), "event", "srt_failed")}},
		{"StreamStopped", "a failure while nothing was sent", false, []curve{of("stream.active", steady(0)), of("stream.events_total", between(0, 100, 3, 4), "event", "srt_not_connected")}},
		{"StreamStopped", "after hours without power", false, []curve{of("stream.active", between(60, 100, absent, 0)), of("stream.events_total", between(60, 100, absent, 7), "event", "srt_failed")}},

		{"StreamLinkDown", "carries nothing", true, []curve{stream("10.45.0.2", steady(2e6)), stream("192.168.8.100", between(100, 104, 0, 1e6))}},
		{"StreamLinkDown", "is not in the statistics any more", true, []curve{stream("10.45.0.2", steady(2e6)), stream("192.168.8.100", between(100, 110, absent, 1e6))}},
		{"StreamLinkDown", "half a minute", false, []curve{stream("10.45.0.2", steady(2e6)), stream("192.168.8.100", between(100, 100.5, 0, 1e6))}},
		{"StreamLinkDown", "all of them", false, []curve{stream("10.45.0.2", between(100, 104, 0, 1e6)), stream("192.168.8.100", between(100, 104, 0, 1e6))}},
		{"StreamLinkDown", "the stream ended", false, []curve{stream("10.45.0.2", between(100, 140, absent, 1e6)), stream("192.168.8.100", between(100, 140, absent, 1e6))}},

		{"NoHDMISignal", "no cable", true, []curve{of("stream.active", steady(1)), of("hdmi.signal", between(100, 104, 0, 2), "input", "video0")}},
		{"NoHDMISignal", "no lock", true, []curve{of("stream.active", steady(1)), of("hdmi.signal", between(100, 104, 1, 2), "input", "video0")}},
		{"NoHDMISignal", "nothing is streamed", false, []curve{of("stream.active", steady(0)), of("hdmi.signal", between(100, 104, 0, 2), "input", "video0")}},
		{"NoHDMISignal", "no such input", false, []curve{of("stream.active", steady(1))}},

		{"UnitRestartLoop", "five in five minutes", true, one("unit.restarts_scheduled_total", between(100, 999, 8, 3), "unit", "belaUI.service")},
		{"UnitRestartLoop", "once", false, one("unit.restarts_scheduled_total", between(100, 999, 4, 3), "unit", "belaUI.service")},

		{"Throttled", "for ten minutes", true, one("soc.cooling_state", between(100, 110, 3, 0), "device", "thermal-cpufreq-1", "index", "1")},
		{"Throttled", "a GPU, on mainline", true, one("soc.cooling_state", between(100, 110, 1, 0), "device", "devfreq-fb000000.gpu", "index", "3")},
		{"Throttled", "for three minutes", false, one("soc.cooling_state", between(100, 103, 3, 0), "device", "thermal-cpufreq-1", "index", "1")},
		{"Throttled", "it is the fan", false, one("soc.cooling_state", steady(3), "device", "pwm-fan", "index", "4")},

		{"FanStopped", "no turns", true, []curve{of("fan.rpm", between(100, 120, 0, 2300), "sensor", "pwmfan/fan1"), of("cpu.temperature", steady(78))}},
		{"FanStopped", "no power", true, []curve{of("fan.pwm_percent", between(100, 120, 0, 50), "sensor", "pwmfan/pwm1"), of("cpu.temperature", steady(78))}},
		{"FanStopped", "turned off by the kernel", true, []curve{of("soc.cooling_state", between(100, 120, 0, 2), "device", "pwm-fan", "index", "4"), of("cpu.temperature", steady(78))}},
		{"FanStopped", "the board is cool", false, []curve{of("fan.rpm", between(100, 120, 0, 2300), "sensor", "pwmfan/fan1"), of("cpu.temperature", steady(55))}},
		{"FanStopped", "one of two sockets is empty", false, []curve{of("fan.rpm", steady(0), "sensor", "a/fan1"), of("fan.rpm", steady(2000), "sensor", "a/fan2"), of("cpu.temperature", steady(78))}},
		{"FanStopped", "no fan", false, one("cpu.temperature", steady(78))},

		{"StorageWorn", "a warning", true, since(-300, one("storage.pre_eol", between(60, 999, 2, 1), "device", "mmcblk0"))},
		{"StorageWorn", "its life is over", true, since(-300, one("storage.life_used_percent", steady(110), "device", "mmcblk0", "type", "a"))},
		{"StorageWorn", "half of its life", false, since(-300, append(one("storage.pre_eol", steady(1), "device", "mmcblk0"), one("storage.life_used_percent", steady(50), "device", "mmcblk0", "type", "a")...))},

		{"ModemWithoutSIM", "came loose", true, one("modem.sim_missing", between(100, 120, 1, 0), "modem", "01234567")},
		{"ModemWithoutSIM", "has one", false, one("modem.sim_missing", steady(0), "modem", "01234567", "interface", "wwan0")},

		{"DatagramsDropped", "while it streams", true, []curve{of("stream.active", steady(1)), of("udp.in_errors_total", perMinute(60))}},
		{"DatagramsDropped", "nothing is streamed", false, []curve{of("stream.active", steady(0)), of("udp.in_errors_total", perMinute(60))}},
		{"DatagramsDropped", "a few", false, []curve{of("stream.active", steady(1)), of("udp.in_errors_total", perMinute(5))}},
		{"DatagramsDropped", "long ago", false, []curve{of("stream.active", steady(1)), of("udp.in_errors_total", steady(50_000))}},

		{"UploadsFail", "one in five", true, []curve{of("uploader.upload_failures_total", perMinute(0.4)), of("uploader.upload_duration_seconds_count", perMinute(2))}},
		{"UploadsFail", "one in twenty", false, []curve{of("uploader.upload_failures_total", perMinute(0.1)), of("uploader.upload_duration_seconds_count", perMinute(2))}},
		{"UploadsFail", "three minutes without the server", false, []curve{of("uploader.upload_failures_total", func(m float64) float64 { return min(max(m-100, 0), 3) }), of("uploader.upload_duration_seconds_count", perMinute(2))}},
		{"UploadsFail", "nothing sent", false, []curve{of("uploader.upload_failures_total", steady(7)), of("uploader.upload_duration_seconds_count", steady(70))}},

		{"BacklogWillFill", "grows fast", true, one("storage.metrics_pending_upload", perMinute(10_000))},
		{"BacklogWillFill", "no uplink for three hours", false, one("storage.metrics_pending_upload", perMinute(360))},
		{"BacklogWillFill", "grows slowly", false, one("storage.metrics_pending_upload", perMinute(5000))},
		{"BacklogWillFill", "drains", false, one("storage.metrics_pending_upload", func(m float64) float64 { return 4e6 - 20_000*m })},

		{"SamplesLost", "the first ever", true, one("storage.lost_total", between(100, 999, 120, absent), "reason", "size_limit")},
		{"SamplesLost", "more", true, one("storage.lost_total", between(100, 999, 120, 20), "reason", "size_limit")},
		// Minute 60 is the first that is judged.
		{"SamplesLost", "in an outage of 70 minutes", true, since(-1500, one("storage.lost_total", awayWhileMoreIsLost(40, 110), "reason", "size_limit"))},
		{"SamplesLost", "in an outage, all told half an hour later", true, since(-1500, one("storage.lost_total", between(30, 999, 120, 20), "reason", "size_limit"))},
		{"SamplesLost", "the first ever, told half an hour later", true, since(-1500, one("storage.lost_total", between(30, 999, 120, absent), "reason", "size_limit"))},
		{"SamplesLost", "once, then silent for an hour", false, since(-1500, one("storage.lost_total", between(60, 130, absent, 120), "reason", "size_limit"))},
		{"SamplesLost", "once, then off for two days", false, since(-2900, one("storage.lost_total", between(-2800, 100, absent, 120), "reason", "size_limit"))},
		{"SamplesLost", "two days ago", false, since(-2900, one("storage.lost_total", between(-2800, 999, 120, 20), "reason", "size_limit"))},
		{"SamplesLost", "none", false, one("storage.metrics_pending_upload", steady(180))},

		{"SamplesRejected", "some", true, one("storage.rejected_total", between(100, 999, 3, 0))},
		{"SamplesRejected", "none", false, one("storage.rejected_total", steady(0))},
		{"SamplesRejected", "once long ago", false, one("storage.rejected_total", steady(9))},

		{"ClockWrong", "ahead", true, one("time.skew_ms", between(100, 120, 2100, 0))},
		{"ClockWrong", "behind", true, one("time.skew_ms", between(100, 120, -2100, 0))},
		{"ClockWrong", "a little behind", false, one("time.skew_ms", steady(-1900))},

		{"ClockUntrusted", "no answer", true, []curve{uptime, of("time.skew_ms", between(60, 999, absent, 5))}},
		{"ClockUntrusted", "never one", true, []curve{uptime}},
		{"ClockUntrusted", "compared", false, []curve{uptime, of("time.skew_ms", steady(5))}},
		{"ClockUntrusted", "silent", false, []curve{of("system.uptime_seconds", between(55, 999, absent, 9)), of("time.skew_ms", between(55, 999, absent, 5))}},

		{"LogGrows", "200 MB", true, one("storage.wal_size_bytes", between(100, 150, 200<<20, 4<<20))},
		{"LogGrows", "100 MB", false, one("storage.wal_size_bytes", steady(100<<20))},

		{"ReadingsFail", "each round", true, one("collector.metrics_failed_total", perMinute(2), "collector", "cpu.temperature")},
		{"ReadingsFail", "once", false, one("collector.metrics_failed_total", between(100, 999, 1, 0), "collector", "cpu.temperature")},
	}
}

// A rule is what is checked of vmalert's rules:
// https://docs.victoriametrics.com/vmalert/#alerting-rules
type rule struct {
	Alert       string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesPath)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestEveryAlertFiresAndStaysSilentWhenItMust replays three hours of boards through a real
// vmalert: on some of them the alert must fire, on others it must not.
func TestEveryAlertFiresAndStaysSilentWhenItMust(t *testing.T) {
	base := startVictoria(t)
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var lines []byte
	seen := map[string]map[bool]int{}
	for _, c := range trials() {
		if seen[c.alert] == nil {
			seen[c.alert] = map[bool]int{}
		}
		seen[c.alert][c.fires]++
		for _, s := range c.curves {
			lines = appendCurve(t, lines, c.alert+"/"+c.board, s, from)
		}
	}
	page := readPage(t, "docs/alerts.md")
	for _, r := range rules(t) {
		if seen[r.Alert][true] == 0 || seen[r.Alert][false] == 0 {
			t.Errorf("%s: want a board that fires and one that does not, have %v", r.Alert, seen[r.Alert])
		}
		if r.Labels["severity"] == "" || !strings.Contains(r.Annotations["summary"], "$labels.device_id") {
			t.Errorf("%s: wants a severity and a summary that names the board", r.Alert)
		}
		// What a person woken at night needs is in the alert, and one click away.
		anchor := strings.TrimPrefix(r.Annotations["runbook_url"], "https://github.com/taniwha3/thugshells/blob/main/docs/alerts.md#")
		if anchor != strings.ToLower(r.Alert) || !strings.Contains(page, "\n## "+r.Alert+"\n") || r.Annotations["description"] == "" {
			t.Errorf("%s: wants a description and a runbook_url to its part of docs/alerts.md", r.Alert)
		}
		delete(seen, r.Alert)
	}
	if len(seen) > 0 {
		t.Errorf("trials of alerts that are not there: %v", seen)
	}
	load(t, base, lines)

	replay(t, base, from.Add(time.Hour), from.Add(3*time.Hour))

	fired := func(alert, board, within string) bool {
		got, err := askAt(t.Context(), base, fmt.Sprintf(`count_over_time(ALERTS{alertstate="firing", alertname=%q, device_id=%q}[%s])`, alert, board, within), from.Add(3*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return len(got) > 0
	}
	for _, c := range trials() {
		if c.alert == "BoardSilent" && c.fires && !fired(c.alert, c.alert+"/"+c.board, "5m") {
			t.Errorf("%s on %q: is over at the end", c.alert, c.board)
		}
		if got := fired(c.alert, c.alert+"/"+c.board, "3h"); got != c.fires {
			t.Errorf("%s on %q: fired %v, want %v", c.alert, c.board, got, c.fires)
		}
	}
}

// replay has a real vmalert judge a stretch of what the server holds and write
// what it raises there, as ALERTS.
func replay(t *testing.T, base string, from, to time.Time) {
	t.Helper()
	program, err := exec.LookPath("vmalert")
	if err != nil {
		t.Skip("vmalert is not installed (Debian package victoria-metrics)")
	}
	out, err := exec.CommandContext(t.Context(), program, "-rule="+rulesPath, "-datasource.url="+base, "-remoteWrite.url="+base,
		"-replay.timeFrom="+from.Format(time.RFC3339), "-replay.timeTo="+to.Format(time.RFC3339),
		"-datasource.queryStep=1m", // else a replay looks every five minutes
		"-replay.disableProgressBar", "-replay.rulesDelay=1ms", "-remoteWrite.flushInterval=100ms", "-httpListenAddr=127.0.0.1:0").CombinedOutput()
	if err != nil {
		t.Fatalf("vmalert: %v\n%s", err, out)
	}
	get(base + "/internal/force_flush")
}

// appendCurve adds a series with the samples that the daemons would take.
func appendCurve(t *testing.T, lines []byte, device string, c curve, from time.Time) []byte {
	t.Helper()
	if _, known := metric.Lookup(c.name); !known && c.name != "ALERTS" {
		t.Fatalf("%s is not in the catalogue", c.name)
	}
	head, err := vmjson.Head(metric.WireName(c.name), device, metric.Tags(c.tags...))
	if err != nil {
		t.Fatal(err)
	}
	var values []float64
	var times []int64
	to := c.to
	if to == 0 {
		to = 180
	}
	for m := c.from; m <= to; m += period(c.name) / 60 {
		if v := c.at(m); !math.IsNaN(v) {
			values = append(values, v)
			times = append(times, from.UnixMilli()+int64(m*60_000))
		}
	}
	return vmjson.Append(lines, head, values, times)
}

// raisedIn replays a stretch and returns the boards and alerts that fired.
func raisedIn(t *testing.T, base string, from, to time.Time) (raised []string) {
	t.Helper()
	replay(t, base, from, to)
	series, err := askAt(t.Context(), base, `count by (device_id, alertname) (count_over_time(ALERTS{alertstate="firing"}[3h]))`, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range series {
		raised = append(raised, s.Metric["device_id"]+" "+s.Metric["alertname"])
	}
	slices.Sort(raised)
	return raised
}

// TestAHealthyBoardFiresNoAlert replays the recording: board-1 is well, and what
// happens to the others is all that is raised.
func TestAHealthyBoardFiresNoAlert(t *testing.T) {
	base := startVictoria(t)
	load(t, base, recording(t))
	raised := raisedIn(t, base, recordingFrom.Add(20*time.Minute), recordingTo)
	want := []string{"board-2 SamplesLost", "board-2 UploadsFail", "board-3 LinkDead"}
	if !slices.Equal(raised, want) {
		t.Errorf("raised %q, want %q", raised, want)
	}
}
