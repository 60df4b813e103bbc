package metric

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTagsAreCanonicalJSON(t *testing.T) {
	f := func(want string, pairs ...string) {
		t.Helper()
		if got := Tags(pairs...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("")
	f(`{"core":"all"}`, "core", "all")
	f(`{"index":"0","zone":"soc"}`, "zone", "soc", "index", "0")
	f(`{"a":"1,b=2","c":"<&>"}`, "c", "<&>", "a", "1,b=2")
	f(`{"a":"\"\\\n\u0001"}`, "a", "\"\\\n\x01")
	f("{\"a\":\"\uFFFDé\"}", "a", "\xffé")
}

func TestTagsRefusesNamesThatCannotBeLabels(t *testing.T) {
	for _, pairs := range [][]string{{"a"}, {"1a", ""}, {"a-b", ""}, {"__name__", "x"}, {"device_id", "x"}, {"a", "1", "a", "2"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Tags(%q) did not panic", pairs)
				}
			}()
			Tags(pairs...)
		}()
	}
}

func FuzzTagsRoundTrip(f *testing.F) {
	f.Add("all", "\x7f")
	f.Add("a\"b", "\u2028\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		text := Tags("y", b, "x", a)
		var got map[string]string
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		if got["x"] != toUTF8(a) || got["y"] != toUTF8(b) || !utf8.ValidString(text) {
			t.Errorf("%q became %q", []string{a, b}, got)
		}
	})
}

// toUTF8 puts U+FFFD for each bad byte.
func toUTF8(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func TestEveryNameIsLegalOnTheWireAndUnique(t *testing.T) {
	legal := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	seen := map[string]string{}
	for _, e := range Catalog {
		wire := WireName(e.Name)
		if !legal.MatchString(wire) {
			t.Errorf("%s: %q is not legal", e.Name, wire)
		}
		if seen[wire] != "" {
			t.Errorf("%s and %s share the wire name %s", e.Name, seen[wire], wire)
		}
		seen[wire] = e.Name
		if e.Kind == Counter && !strings.HasSuffix(wire, "_total") {
			t.Errorf("%s: a counter's name ends in _total", e.Name)
		}
		if e.Kind == Gauge && strings.HasSuffix(wire, "_total") {
			t.Errorf("%s: a gauge's name does not end in _total", e.Name)
		}
		if e.Unit == "" || e.Help == "" || e.Source == "" {
			t.Errorf("%s: unit, help or source is missing", e.Name)
		}
	}
	f := func(name, want string) {
		t.Helper()
		if got := WireName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	f("cpu.temperature", "cpu_temperature_celsius")
	f("network.rx_bytes_total", "network_rx_bytes_total")
	f("collector.collection_duration_seconds_bucket", "collector_collection_duration_seconds_bucket")
	f("5g.signal-dbm", "_5g_signal_dbm")
	f("", "_")
}

func FuzzWireNameIsLegal(f *testing.F) {
	legal := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	f.Add("a.b")
	f.Fuzz(func(t *testing.T, name string) {
		if got := WireName(name); !legal.MatchString(got) {
			t.Errorf("%q became %q", name, got)
		}
	})
}

func TestLookupFindsAHistogramsParts(t *testing.T) {
	for name, want := range map[string]bool{
		"cpu.usage_percent": true, "uploader.upload_duration_seconds_bucket": true, "uploader.upload_duration_seconds_sum": true,
		"cpu.usage_percent_sum": false, "nothing": false,
	} {
		if _, ok := Lookup(name); ok != want {
			t.Errorf("%s: found %t, want %t", name, ok, want)
		}
	}
}

func TestRoundKeeps12Digits(t *testing.T) {
	f := func(v, want float64) {
		t.Helper()
		if got := Round(v); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("Round(%v) = %v, want %v", v, got, want)
		}
	}
	f(0.1+0.2, 0.3)
	f(123456789012, 123456789012)
	f(1234567890123.0, 1234567890120)
	f(-1e-300/3, -3.33333333333e-301)
	f(math.MaxFloat64, 1.79769313486e308)
	f(math.Inf(1), math.Inf(1))
	f(math.NaN(), math.NaN())
}

func TestPercentIsBetween0And100(t *testing.T) {
	f := func(part, whole, want float64, wantOK bool) {
		t.Helper()
		if got, ok := Percent(part, whole); got != want || ok != wantOK {
			t.Errorf("Percent(%v, %v) = %v, %t; want %v, %t", part, whole, got, ok, want, wantOK)
		}
	}
	f(1, 3, 33.333, true)
	f(0, 10, 0, true)
	f(11, 10, 100, true)
	f(1, 0, 0, false)
	f(-1, 10, 0, false)
	f(math.NaN(), 10, 0, false)
	f(1, math.NaN(), 0, false)
}

func TestTallyContinuesFromTheLastRun(t *testing.T) {
	var first Tally
	first.Add("collector.metrics_collected_total", 5, "collector", "cpu.usage")
	first.Observe("collector.collection_duration_seconds", 0.05, "collector", "cpu.usage")
	var second Tally
	second.Restore(first.All())
	second.Add("collector.metrics_collected_total", 2, "collector", "cpu.usage")
	second.Observe("collector.collection_duration_seconds", 20, "collector", "cpu.usage")
	if got := second.Value("collector.metrics_collected_total", "collector", "cpu.usage"); got != 7 {
		t.Errorf("counted %v, want 7", got)
	}
	for le, want := range map[string]float64{"0.01": 0, "0.1": 1, "1": 1, "+Inf": 2} {
		if got := second.Value("collector.collection_duration_seconds_bucket", "collector", "cpu.usage", "le", le); got != want {
			t.Errorf("bucket %s holds %v, want %v", le, got, want)
		}
	}
	for _, s := range second.Samples(1000) {
		if _, ok := Lookup(s.Name); !ok || s.TimeMs != 1000 {
			t.Errorf("%+v is not in the catalogue or not of its time", s)
		}
	}
}
