package health

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

func TestMetricsHaveTheNewestSampleOfEverySeries(t *testing.T) {
	b := newBoard(t)
	now := time.Now()
	at := func(ago time.Duration) int64 { return now.Add(-ago).UnixMilli() }
	b.fill(
		t,
		metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", "0"), TimeMs: at(2 * time.Minute), Value: 1},
		metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", "0"), TimeMs: at(time.Minute), Value: 2},
		metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", "1"), TimeMs: at(minFresh - 10*time.Second), Value: 3},
		metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", "2"), TimeMs: at(minFresh + 10*time.Second), Value: 4},
		metric.Sample{Name: "cpu.temperature", TimeMs: at(time.Second), Value: 55.5},
		metric.Sample{Name: "network.rx_bytes_total", Tags: metric.Tags("interface", `a"b\c`), TimeMs: at(time.Second), Value: 123456789},
		metric.Sample{Name: "uploader.upload_duration_seconds_bucket", Tags: metric.Tags("le", "1"), TimeMs: at(time.Second), Value: 7},
		metric.Sample{Name: "not.in_the_catalogue", TimeMs: at(time.Second), Value: 8},
		metric.Sample{Name: "process.cpu_seconds_total", Tags: metric.Tags("daemon", "metrics-collector"), TimeMs: at(time.Second), Value: 9},
		metric.Sample{Name: "system.load5", TimeMs: at(-time.Hour), Value: 10}, // the clock was set back
	)
	_, text, _ := get(t, "GET", b.serve(t)+"/metrics", "")
	series, faults := lint(text)
	for _, f := range faults {
		t.Error(f)
	}
	for key, want := range map[string]float64{
		`cpu_usage_percent{device_id="board-1",core="0"}`:                           2,
		`cpu_usage_percent{device_id="board-1",core="1"}`:                           3,
		`cpu_temperature_celsius{device_id="board-1"}`:                              55.5,
		`network_rx_bytes_total{device_id="board-1",interface="a\"b\\c"}`:           123456789,
		`process_cpu_seconds_total{device_id="board-1",daemon="metrics-collector"}`: 9,
		`process_cpu_seconds_total{daemon="metrics-health"}`:                        1.5,
		`system_load1{device_id="board-1"}`:                                         1,
	} {
		if got, ok := series[key]; !ok || got != want {
			t.Errorf("%s is %v (%v), want %v", key, got, ok, want)
		}
	}
	for _, without := range []string{`core="2"`, "uploader_upload_duration", "not_in_the_catalogue", "system_load5"} {
		if strings.Contains(text, without) {
			t.Errorf("%s is shown", without)
		}
	}
	if !strings.Contains(text, "# HELP cpu_temperature_celsius The hottest thermal zone that could be read.\n# TYPE cpu_temperature_celsius gauge\n") {
		t.Error("no HELP and TYPE of the catalogue")
	}
}

func TestTagsThatCannotBeLabelsAreLeftOut(t *testing.T) {
	of := func(tags string) store.Latest {
		return store.Latest{Series: store.Series{Name: "system.load1", Device: "d", Tags: tags}, Value: 1}
	}
	for tags, want := range map[string]int{"": 1, `{"a":"b"}`: 1, `{"a":1}`: 0, `{`: 0, `{"a-b":"c"}`: 0, `{"device_id":"c"}`: 0} {
		text := samplesExposition([]store.Latest{of(tags), of(tags)}, nil, false) // twice: one is shown
		if want == 0 {
			if text != "" {
				t.Errorf("%q: %s", tags, text)
			}
			continue
		}
		if series, faults := lint(text); len(faults) > 0 || len(series) != want {
			t.Errorf("%q: %v\n%s", tags, faults, text)
		}
	}
}

func TestASampleIsCurrentForTwoOfTheLongestIntervals(t *testing.T) {
	for longest, want := range map[time.Duration]time.Duration{
		10 * time.Second: minFresh, 3 * time.Minute: minFresh, 10 * time.Minute: 20 * time.Minute, 24 * time.Hour: maxFresh,
	} {
		if got := freshFor(Thresholds{Expected: []Expected{{"a", time.Second}, {"b", longest}}}); got != want {
			t.Errorf("%s: %s, want %s", longest, got, want)
		}
	}
}

// everything is one sample of each metric of the catalogue that a scrape can have.
func everything() (all []metric.Sample) {
	for _, e := range metric.Catalog {
		if e.Kind != metric.Histogram {
			all = append(all, metric.Sample{Name: e.Name, TimeMs: time.Now().Add(time.Second).UnixMilli(), Value: 123})
		}
	}
	return all
}

// Everything that the catalogue has, in a scrape, as Prometheus' own tool judges it.
func TestPromtoolFindsNoFaultWithTheMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian: prometheus)")
	}
	b := newBoard(t)
	b.fill(t, everything()...)
	_, text, _ := get(t, "GET", b.serve(t)+"/metrics", "")
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, has := range []string{"belabox_health_status{", "disk_io_time_seconds_total{", "cpu_temperature_celsius{"} {
		if !strings.Contains(text, has) {
			t.Errorf("not in what promtool was given: %s", has)
		}
	}
}

func TestSamplesOfOtherUnitsAreShownInBaseUnitsAndOnRequestAsSent(t *testing.T) {
	b := newBoard(t)
	b.fill(t, everything()...)
	at := b.serve(t)
	_, scraped, _ := get(t, "GET", at+"/metrics", "")
	_, asSent, _ := get(t, "GET", at+"/metrics?names=sent", "")
	base, faults := lint(scraped)
	for _, f := range faults {
		t.Error(f)
	}
	sent, _ := lint(asSent)
	if len(base) != len(sent) {
		t.Errorf("%d series in base units, %d as sent", len(base), len(sent))
	}
	for name, value := range map[string]float64{"time_skew_seconds": .123, "disk_io_time_seconds_total": .123, "stream_link_bytes_per_second": 15.375, "stream_bitrate_max_bps": 123} {
		if got := base[name+`{device_id="board-1"}`]; got != value {
			t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
	if want := "# HELP time_skew_seconds Local clock minus the server's; positive when the board is ahead. Sent as time_skew_ms.\n"; !strings.Contains(scraped, want) {
		t.Error("not there: " + want)
	}
	for _, s := range everything() {
		if got := sent[metric.WireName(s.Name)+`{device_id="board-1"}`]; got != 123 {
			t.Errorf("as sent, %s is %v", metric.WireName(s.Name), got)
		}
	}
	if code, body, _ := get(t, "GET", at+"/metrics?names=wire", ""); code != 400 || body != "the only parameter is names=sent\n" {
		t.Errorf("another parameter: %d %q", code, body)
	}
}
