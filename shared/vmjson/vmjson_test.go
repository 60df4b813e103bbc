package vmjson

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/metric"
)

func mustHead(t testing.TB, name, device, tags string) []byte {
	t.Helper()
	head, err := Head(name, device, tags)
	if err != nil {
		t.Fatalf("Head(%.80q, %.80q, %.80q): %v", name, device, tags, err)
	}
	return head
}

func TestAppendWritesOneLinePerSeries(t *testing.T) {
	head := mustHead(t, "cpu_usage_percent", "b\"7", `{"core":"all","zone":"a\u2028b"}`)
	got := string(Append([]byte("x\n"), head, []float64{1, 2.5, -0.001}, []int64{1751328000000, 1751328010000, 1}))
	want := "x\n" + `{"metric":{"__name__":"cpu_usage_percent","device_id":"b\"7","core":"all","zone":"a\u2028b"},` +
		`"values":[1,2.5,-0.001],"timestamps":[1751328000000,1751328010000,1]}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, tags := range []string{"", "{}"} {
		if got, want := string(mustHead(t, "up", "b", tags)), `{"metric":{"__name__":"up","device_id":"b"},"values":[`; got != want {
			t.Errorf("tags %q: got %s, want %s", tags, got, want)
		}
	}
}

func TestFurtherLabelsComeBeforeTheTagsUnlessATagHasTheirName(t *testing.T) {
	for _, tt := range []struct {
		tags string
		site string
		want string
	}{
		{`{"core":"all"}`, "north \"7\"", `"device_id":"b","site":"north \"7\"","core":"all"}`},
		{"", "north", `"device_id":"b","site":"north"}`},
		{`{"core":"all"}`, "", `"device_id":"b","core":"all"}`},
		{`{"site":"south"}`, "north", `"device_id":"b","site":"south"}`},
	} {
		head, err := Head("up", "b", tt.tags, Label{"site", tt.site})
		if err != nil || !strings.Contains(string(head), tt.want) {
			t.Errorf("%s with %q: %s, %v", tt.tags, tt.site, head, err)
		}
		if err := Read(strings.NewReader(string(Append(nil, head, []float64{1}, []int64{1}))), Limits{}, func(_ int, _ Line, refused error) error { return refused }); err != nil {
			t.Errorf("%s: %v", head, err)
		}
	}
	for _, bad := range []Label{{"site", "\xff"}, {"site", strings.Repeat("x", MaxValueBytes+1)}, {"a-b", "x"}} {
		if _, err := Head("up", "b", "", bad); err == nil {
			t.Errorf("%.40q became a label", bad)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	head := mustHead(t, "cpu_usage_percent", "b7", `{"core":"all"}`)
	values := []float64{12.345, 7, 1e-300, 0.1 + 0.2, 123456789012, 1.5e300}
	times := []int64{1, 2, 3, 4, 5, 1751328000000}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = Append(buf[:0], head, values, times) }); n != 0 {
		t.Errorf("%v allocations a line, want 0", n)
	}
}

func TestNumbersAreShortAndParseToTheSameFloat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for v, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 1: "1", -1: "-1", 100: "100", 123456789012: "123456789012",
		1e15: "1000000000000000", 1e20: "100000000000000000000", 1e21: "1e+21",
		0.5: "0.5", -0.5: "-0.5", 12.345: "12.345", 12.05: "12.05", 0.000001: "0.000001", -99.999999: "-99.999999", 1e-7: "1e-07", 0.12345678: "0.12345678",
		999999999.5: "999999999.5", 1000000000.5: "1000000000.5", 0.30000000000000004: "0.30000000000000004", 0.3: "0.3",
		1e-300: "1e-300", math.MaxFloat64: "1.7976931348623157e+308", math.SmallestNonzeroFloat64: "5e-324",
	} {
		if got := string(appendNumber(nil, v)); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
	for range 200_000 {
		v := math.Float64frombits(rand.Uint64())
		switch rand.IntN(3) {
		case 0: // as percentages are stored
			v = math.Round(rand.Float64()*1e5) / 1e3
		case 1: // 12 digits of any size
			v = mustFloat(t, strconv.FormatFloat(v, 'g', 12, 64))
		}
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			checkNumber(t, v)
		}
	}
}

func mustFloat(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
		t.Fatal(err)
	}
	return v
}

func checkNumber(t *testing.T, v float64) {
	t.Helper()
	text := appendNumber(nil, v)
	if !json.Valid(text) {
		t.Fatalf("%v: %s is not JSON", v, text)
	}
	if back, err := strconv.ParseFloat(string(text), 64); err != nil || back != v {
		t.Fatalf("%v came back as %v from %s (%v)", v, back, text, err)
	}
	digits := func(s string) int {
		s, _, _ = strings.Cut(strings.ToLower(s), "e")
		return len(strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(s), "0"))
	}
	if got, shortest := digits(string(text)), digits(strconv.FormatFloat(v, 'e', -1, 64)); got > shortest && math.Abs(v) >= 1e15 || math.Abs(v) < 1e15 && got != shortest {
		t.Fatalf("%v: %s has %d digits, the shortest has %d", v, text, got, shortest)
	}
}

func TestAppendPanicsOnWhatTheServerWouldLose(t *testing.T) {
	head := mustHead(t, "up", "b", "")
	for name, line := range map[string]struct {
		values []float64
		times  []int64
	}{
		"no samples":       {nil, nil},
		"a value too many": {[]float64{1, 2}, []int64{1}},
		"NaN":              {[]float64{math.NaN()}, []int64{1}},
		"infinity":         {[]float64{math.Inf(-1)}, []int64{1}},
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "BUG: ") {
					t.Errorf("%s: recovered %q, want a BUG", name, got)
				}
			}()
			Append(nil, head, line.values, line.times)
		}()
	}
}

func TestHeadRejectsNamesThatTheServerWouldDropOrChange(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"k` + strconv.Itoa(100+i) + `":"v"`)
		}
		return "{" + b.String()[1:] + "}"
	}
	long := strings.Repeat("a", MaxNameBytes)
	value := strings.Repeat("é", MaxValueBytes/2)
	f := func(name, device, tags, want string) {
		t.Helper()
		head, err := Head(name, device, tags)
		switch {
		case want == "" && err != nil:
			t.Errorf("Head(%.60q, %.60q, %.60q): %v", name, device, tags, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("Head(%.60q, %.60q, %.60q): got %v, want %q", name, device, tags, err, want)
		case want != "" && head != nil:
			t.Errorf("Head(%.60q, …): an error and a head", name)
		}
	}
	f("a:b_9", "b", "", "")
	f(long, "b", "", "")
	f(long+"a", "b", "", "metric name is over 256 bytes")
	f("", "b", "", "not a metric name")
	f("9up", "b", "", "not a metric name")
	f("cpu.usage", "b", "", "not a metric name")
	f("é", "b", "", "not a metric name")
	f("up", "", "", "device_id is empty")
	f("up", "\xff", "", "not UTF-8")
	f("up", value, "", "")
	f("up", value+"a", "", "over 4096 bytes")
	f("up", "b", many(28), "")
	f("up", "b", many(29), "more than 30 labels")
	f("up", "b", many(40), "more than 30 labels")
	f("up", "b", `{"`+long+`":"v"}`, "")
	f("up", "b", `{"`+long+`a":"v"}`, "label name is over 256 bytes")
	f("up", "b", `{"k":"`+value+`"}`, "")
	f("up", "b", `{"k":"`+value+`a"}`, "over 4096 bytes")
	f("up", "b", `{"k":""}`, "")
	f("up", "b", `{"k":"\u0000\b\f\n\r\t\"\\\u2028😀"}`, "")
	f("up", "b", `{"":"v"}`, "not a label name")
	f("up", "b", `{"9":"v"}`, "not a label name")
	f("up", "b", `{"a:b":"v"}`, "not a label name")
	f("up", "b", `{"a-b":"v"}`, "not a label name")
	f("up", "b", `{"__name__":"v"}`, "reserved")
	f("up", "b", `{"device_id":"v"}`, "reserved")
	f("up", "b", `{"a":"v","a":"w"}`, "twice")
	f("up", "b", `{"b":"v","a":"w"}`, "not canonical")
	f("up", "b", `{"a": "v"}`, "not canonical")
	f("up", "b", `{"a":"v"} `, "after the object")
	f("up", "b", `{"a":1}`, "not a string")
	f("up", "b", `{"a":null}`, "not a string")
	f("up", "b", `{"a":{"b":"c"}}`, "not a string")
	f("up", "b", `{"a":"v"`, "expected")
	f("up", "b", `{"a":"v",}`, "expected")
	f("up", "b", `{"a":"v"}}`, "after the object")
	f("up", "b", `["a"]`, "expected")
	f("up", "b", `null`, "expected")
	f("up", "b", `{"a":"\ud800"}`, "surrogate")
	f("up", "b", `{"a":"\x"}`, "not an escape")
	f("up", "b", "{\"a\":\"\x01\"}", "control character")
	f("up", "b", "{\"a\":\"\xff\"}", "not UTF-8")
}

func TestSampleOutsideTheServersWindowIsNamed(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	ahead, month := MaxAhead.Milliseconds(), 30*24*time.Hour
	f := func(value float64, timeMs int64, retention time.Duration, want string) {
		t.Helper()
		err := CheckSample(value, timeMs, now, retention)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckSample(%v, %d, %v): got %v, want %q", value, timeMs, retention, err, want)
		}
	}
	f(0, now, 0, "")
	f(math.NaN(), now, 0, "not finite")
	f(math.Inf(1), now, 0, "not finite")
	f(math.Inf(-1), now, 0, "not finite")
	f(math.MaxFloat64, now, 0, "")
	f(1, 0, 0, "after 1970")
	f(1, -1, 0, "after 1970")
	f(1, math.MinInt64, 0, "after 1970")
	f(1, 1, 0, "")
	f(1, now+ahead, 0, "")
	f(1, now+ahead+1, 0, "ahead")
	f(1, math.MaxInt64, 0, "ahead")
	f(1, now-month.Milliseconds(), month, "")
	f(1, now-month.Milliseconds()-1, month, "retention")
}

// FuzzRoundTrip: what Head and Append write, Read and encoding/json read back equal.
func FuzzRoundTrip(f *testing.F) {
	f.Add("up", "b7", "all", 12.345, int64(1751328000000))
	f.Add("a:b", "\"\\\x7f", "\x00\u2028\n😀", 1e-300, int64(-1))
	f.Add("up", "\xff", "é", 123456789012.0, int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, name, device, tag string, v float64, ms int64) {
		if !utf8.ValidString(tag) {
			tag = strings.ToValidUTF8(tag, "\ufffd") // as in the tags of samples
		}
		tags := `{"tag":` + string(metric.AppendJSONString(nil, tag)) + `}`
		head, err := Head(name, device, tags)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		checkNumber(t, v)
		text := Append(nil, head, []float64{v, 0, v}, []int64{ms, 1, -ms})
		var lines []Line
		err = Read(strings.NewReader(string(text)), Limits{}, func(_ int, l Line, refused error) error {
			lines = append(lines, l)
			return refused
		})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := []Line{{name, []Label{{"device_id", device}, {"tag", tag}}, []float64{v, 0, v}, []int64{ms, 1, -ms}}}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Fatalf("%s: %s", text, diff)
		}
		var second struct {
			Metric     map[string]string
			Values     []float64
			Timestamps []int64
		}
		if err := json.Unmarshal(text, &second); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if second.Metric["device_id"] != device || second.Metric["tag"] != tag || second.Metric["__name__"] != name || second.Values[2] != v || second.Timestamps[2] != -ms {
			t.Fatalf("%s: encoding/json reads %+v", text, second)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	head := mustHead(b, "cpu_usage_percent", "board-0007", `{"core":"all"}`)
	for name, value := range map[string]func() float64{
		"percent": func() float64 { return math.Round(rand.Float64()*1e5) / 1e3 },
		"counter": func() float64 { return float64(rand.Int64N(1e12)) },
		"digits12": func() float64 {
			v, _ := strconv.ParseFloat(strconv.FormatFloat(rand.Float64(), 'g', 12, 64), 64)
			return v
		},
	} {
		const samples = 50
		values, times := make([]float64, samples), make([]int64, samples)
		for i := range values {
			values[i], times[i] = value(), 1751328000000+int64(i)*10_000
		}
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], head, values, times)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/samples, "ns/sample")
			b.ReportMetric(float64(len(buf))/samples, "B/sample")
		})
	}
}
