package health

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/store"
)

var (
	promName  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	promLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$`)
	promLabel = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"`)
)

// lint reads Prometheus' text format as strictly as promtool check metrics does,
// and returns the series with their values and what is wrong.
func lint(text string) (series map[string]float64, faults []string) {
	series = map[string]float64{}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !strings.HasSuffix(text, "\n") {
		fault("no newline at the end")
	}
	name, kind, help := "", "", ""
	ended := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "# HELP "):
			next, words, _ := strings.Cut(line[len("# HELP "):], " ")
			if ended[next] || !promName.MatchString(next) || words == "" || strings.Contains(words, `\`) {
				fault("bad help: %s", line)
			}
			if name != "" {
				ended[name] = true
			}
			name, kind, help = next, "", words
		case strings.HasPrefix(line, "# TYPE "):
			next, k, _ := strings.Cut(line[len("# TYPE "):], " ")
			if next != name || kind != "" || k != "gauge" && k != "counter" {
				fault("bad type: %s", line)
			}
			kind = k
			if counts := strings.HasSuffix(name, "_total"); counts != (k == "counter") {
				fault("%s is a %s", name, k)
			}
			for _, unit := range []string{"_ms", "_milliseconds", "_kib", "_minutes"} {
				if strings.Contains(name+"_", unit+"_") {
					fault("%s is not in a base unit", name)
				}
			}
		default:
			m := promLine.FindStringSubmatch(line)
			if m == nil || m[1] != name || kind == "" || help == "" {
				fault("bad line, or outside its family: %q", line)
				continue
			}
			labels := map[string]bool{}
			for _, l := range promLabel.FindAllStringSubmatch(m[2], -1) {
				if labels[l[1]] {
					fault("label twice: %s", line)
				}
				labels[l[1]] = true
			}
			v, err := strconv.ParseFloat(m[3], 64)
			key := strings.TrimSuffix(line, " "+m[3])
			if _, twice := series[key]; twice || err != nil {
				fault("twice, or no number: %s", line)
			}
			series[key] = v
		}
	}
	return series, faults
}

func TestMetricsAgreeWithHealth(t *testing.T) {
	w := well()
	w.row("skew").Detail = `{"skew_ms":-120,"error_ms":500}`
	w.clock(true, 0)
	w.seen.Snapshot.Losses = []store.Loss{{Reason: "disk_full", Count: 7, LastMs: wall.UnixMilli()}}
	w.seen.Locks[shipper] = Lock{}
	w.row("shipper").Detail = `{"outcome":"later","http_status":503}`
	w.row("shipper").Error, w.row("shipper").ErrorMs, w.row("shipper").Failed = "HTTP 503", wall.Add(-time.Minute).UnixMilli(), 4
	r := Evaluate(w.seen, w.t, w.now)
	r.DeviceID, r.Version = "a \"board\"\\\nof \xff mine", "1.0"
	series, faults := lint(Exposition(r))
	for _, f := range faults {
		t.Error(f)
	}
	for key, want := range map[string]float64{
		`belabox_health_status{status="degraded"}`:                                              1,
		`belabox_health_status{status="ok"}`:                                                    0,
		`belabox_health_reason{code="shipper_crashed",component="shipper",severity="degraded"}`: 1,
		`belabox_health_reason{code="samples_lost",component="storage",severity="degraded"}`:    1,
		`belabox_health_info{device_id="a \"board\"\\\nof \\ufffd mine",version="1.0"}`:         1,
		`belabox_daemon_state{daemon="metrics-shipper",state="crashed"}`:                        1,
		`belabox_daemon_state{daemon="metrics-collector",state="running"}`:                      1,
		`belabox_daemon_heartbeat_age_seconds{daemon="metrics-collector"}`:                      1,
		`belabox_daemon_info{daemon="metrics-shipper",version="1.0",pid="22"}`:                  1,
		`belabox_daemon_last_success_timestamp_seconds{daemon="metrics-shipper"}`:               float64(wall.Unix() - 1),
		`belabox_daemon_last_error_timestamp_seconds{daemon="metrics-shipper"}`:                 float64(wall.Unix() - 60),
		`belabox_daemon_succeeded_total{daemon="metrics-shipper"}`:                              100,
		`belabox_daemon_failed_total{daemon="metrics-shipper"}`:                                 4,
		`belabox_collector_heartbeat_age_seconds{collector="cpu.usage"}`:                        1,
		`belabox_upload_http_status`:                                                            503,
		`belabox_collector_up{collector="cpu.usage"}`:                                           1,
		`belabox_collector_samples_total{collector="cpu.usage"}`:                                100,
		`belabox_collector_last_success_timestamp_seconds{collector="cpu.usage"}`:               float64(wall.Unix() - 1),
		`belabox_upload_last_success_timestamp_seconds`:                                         float64(wall.Unix() - 1),
		`belabox_upload_age_seconds`:                                                            1,
		`belabox_samples_pending`:                                                               10,
		`belabox_samples_delivered_total`:                                                       990,
		`belabox_samples_lost_total{reason="disk_full"}`:                                        7,
		`belabox_database_size_bytes`:                                                           1 << 20,
		`belabox_clock_skew_seconds`:                                                            -0.12,
		`belabox_clock_synced`:                                                                  1,
	} {
		if got, ok := series[key]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
		}
	}
}

func TestMetricsIncludeTheUseOfTheProcess(t *testing.T) {
	_, text, _ := get(t, "GET", newBoard(t).serve(t)+"/metrics", "")
	series, faults := lint(text)
	for _, f := range faults {
		t.Error(f)
	}
	own := map[string]float64{}
	for key, v := range series {
		if strings.HasPrefix(key, "process_") {
			own[key] = v
		}
	}
	// What is not known is left out.
	want := map[string]float64{
		`process_cpu_seconds_total{daemon="metrics-health"}`:     1.5,
		`process_resident_memory_bytes{daemon="metrics-health"}`: 9 << 20,
	}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Error(diff)
	}
}

func TestMetricsOfABoardWithoutSamples(t *testing.T) {
	series, faults := lint(Exposition(Evaluate(Observation{Fault: DatabaseMissing, FaultText: "none"}, well().t, well().now)))
	for _, f := range faults {
		t.Error(f)
	}
	for key := range series {
		if strings.HasPrefix(key, "belabox_samples_") || strings.HasPrefix(key, "belabox_upload_age") {
			t.Errorf("%s is said though it is not known", key)
		}
	}
}

func TestLintFindsFaults(t *testing.T) {
	for _, bad := range []string{
		"x 1\n", "# HELP x h\n# TYPE x counter\nx 1\n", "# HELP x_total h\n# TYPE x_total gauge\nx_total 1\n",
		"# HELP x h\n# TYPE x gauge\nx{a=\"1\",a=\"2\"} 1\n", "# HELP x h\n# TYPE x gauge\nx 1\nx 2\n",
		"# HELP x h\n# TYPE x gauge\nx{a=\"b\nc\"} 1\n", "# HELP x h\n# TYPE x gauge\nx one\n", "# HELP x h\n# TYPE x gauge\nx 1",
		"# HELP belabox_x_ms h\n# TYPE belabox_x_ms gauge\nbelabox_x_ms 1\n",
	} {
		if _, faults := lint(bad); len(faults) == 0 {
			t.Errorf("nothing found in %q", bad)
		}
	}
}

func TestTextHasTheLastErrorsAndTheDaysBytes(t *testing.T) {
	print := func(w *world) string {
		var text strings.Builder
		if err := Text(&text, Evaluate(w.seen, w.t, w.now), false); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	w := well()
	if text := print(w); strings.Contains(text, "LAST ERROR") || strings.Contains(text, "today") {
		t.Errorf("of what never was:\n%s", text)
	}
	w.t.BytesPerDay = 10 << 20
	w.row("shipper").Detail = `{"bytes_today":3145728}`
	w.row("shipper").Error, w.row("shipper").ErrorMs = "send: EOF\nagain", wall.Add(-time.Hour).UnixMilli()
	w.row("collector/cpu.usage").Error, w.row("collector/cpu.usage").ErrorMs = "evil \x1b[2J", wall.Add(-time.Minute).UnixMilli()
	text := print(w)
	for _, want := range []string{
		"\nLAST ERROR           AT                     MESSAGE\n" +
			"metrics-shipper      2026-07-01T11:00:00Z   send: EOF; again\n" +
			"cpu.usage            2026-07-01T11:59:00Z   evil \\u001b[2J\n\n",
		"\ntraffic   3.0 MiB of 10.0 MiB today\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestTextIsReadableAndCannotControlTheTerminal(t *testing.T) {
	w := well()
	w.row("collector/cpu.usage").FailingSinceMs = wall.Add(-time.Minute).UnixMilli()
	w.row("collector/cpu.usage").SuccessMs = 0
	w.row("collector/cpu.usage").Error = "evil \x1b[2J\x07 words"
	r := Evaluate(w.seen, w.t, w.now)
	r.DeviceID = "board-1\x1b[31m"
	var plain, coloured strings.Builder
	if err := Text(&plain, r, false); err != nil {
		t.Fatal(err)
	}
	if err := Text(&coloured, r, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DEGRADED  board-1", "reading_failing", "cpu.usage            error", "metrics-shipper      running", "10 pending", "1.0 MiB, WAL 4.0 MiB"} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("%q is not in\n%s", want, plain.String())
		}
	}
	if strings.ContainsAny(plain.String(), "\x1b\x07") {
		t.Errorf("control characters in %q", plain.String())
	}
	if strings.Contains(coloured.String(), "[2J") && strings.Contains(coloured.String(), "\x1b[2J") || !strings.Contains(coloured.String(), "\x1b[1;33mDEGRADED\x1b[0m") {
		t.Errorf("%q", coloured.String())
	}
	if Colour(&plain) {
		t.Error("colours on what is no terminal")
	}
}

// The numbers of each table stand under their heads, with and without colour.
func TestTheTablesOfTheStatusAreInColumns(t *testing.T) {
	w := well()
	r := Evaluate(w.seen, w.t, w.now)
	for _, colour := range []bool{false, true} {
		var text strings.Builder
		if err := Text(&text, r, colour); err != nil {
			t.Fatal(err)
		}
		ends := 0 // where the head of the third column ends
		rows := 0
		for line := range strings.Lines(regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(text.String(), "")) {
			switch fields := strings.Fields(line); {
			case len(fields) > 3 && (fields[0] == "DAEMON" || fields[0] == "COLLECTOR"):
				ends = strings.Index(line, fields[2]) + len(fields[2])
			case len(fields) == 0:
				ends = 0
			case ends > 0:
				rows++
				if len(line) < ends || strings.TrimSpace(line[ends-8:ends]) != fields[2] {
					t.Errorf("%q has %q not in the columns that end at %d", line, fields[2], ends)
				}
			}
		}
		if rows < 3 {
			t.Errorf("%d rows in\n%s", rows, text.String())
		}
	}
}
