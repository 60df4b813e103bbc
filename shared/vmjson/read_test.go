package vmjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// gotLine is what Read says of one line; the slices are copied.
type gotLine struct {
	Number  int
	Line    Line
	Refused string
}

func readAll(r io.Reader, limits Limits) ([]gotLine, error) {
	var got []gotLine
	err := Read(r, limits, func(number int, l Line, refused error) error {
		g := gotLine{Number: number}
		if refused != nil {
			g.Refused = refused.Error()
		} else {
			g.Line = Line{l.Name, append([]Label(nil), l.Labels...), append([]float64(nil), l.Values...), append([]int64(nil), l.Timestamps...)}
		}
		got = append(got, g)
		return nil
	})
	return got, err
}

func TestReadGivesEveryLineWithItsNumber(t *testing.T) {
	text := `{"metric":{"__name__":"up"},"values":[1],"timestamps":[1000]}` + "\n\n\r\n" +
		`bad` + "\r\n" +
		" { \"timestamps\" : [ 1 , -2 ] , \"values\" : [ 1.5e3 , -0.25 ] , \"metric\" : { \"core\" : \"\\u00e9\\ud83d\\ude00\\/\" , \"__name__\" : \"a:b\" , \"x\" : \"\" } } \r\n" +
		`{"metric":{"__name__":"last"},"values":[0],"timestamps":[1]}`
	want := []gotLine{
		{1, Line{"up", nil, []float64{1}, []int64{1000}}, ""},
		{4, Line{}, `byte 1: expected '{', found "bad"`},
		{5, Line{"a:b", []Label{{"core", "é😀/"}, {"x", ""}}, []float64{1500, -0.25}, []int64{1, -2}}, ""},
		{6, Line{"last", nil, []float64{0}, []int64{1}}, ""},
	}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
		got, err := readAll(r, Limits{})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if got, err := readAll(strings.NewReader(""), Limits{}); err != nil || got != nil {
		t.Errorf("empty text: %v, %v", got, err)
	}
}

func TestReadNamesWhatTheServerWouldSkipInSilence(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		got, err := readAll(strings.NewReader(line+"\n"), Limits{})
		if err != nil || len(got) != 1 || got[0].Refused == "" || !strings.Contains(got[0].Refused, want) {
			t.Errorf("%.80s: got %+v, %v, want %q", line, got, err, want)
		}
	}
	with := func(metric, values, timestamps string) string {
		return `{"metric":` + metric + `,"values":` + values + `,"timestamps":` + timestamps + `}`
	}
	up := `{"__name__":"up"}`

	f(" ", "found the end")
	f("null", "expected '{'")
	f("[]", "expected '{'")
	f("{}", `no "metric"`)
	f("{", "found the end")
	f(`{"metric"`, "expected ':'")
	f(`{"metric":`+up+`}`, "no values")
	f(`{"values":[1],"timestamps":[1]}`, `no "metric"`)
	f(with(`{}`, "[1]", "[1]"), "no __name__")
	f(with(`{"a":"b"}`, "[1]", "[1]"), "no __name__")
	f(with(`null`, "[1]", "[1]"), "metric: ")
	f(with(`"up"`, "[1]", "[1]"), "metric: ")
	f(with(`{"__name__":1}`, "[1]", "[1]"), "not a string")
	f(with(`{"__name__":"up","a":1}`, "[1]", "[1]"), "label \"a\" is not a string")
	f(with(`{"__name__":"up","a":null}`, "[1]", "[1]"), "not a string")
	f(with(`{"__name__":"up","a":["b"]}`, "[1]", "[1]"), "not a string")
	f(with(`{"__name__":"cpu.usage"}`, "[1]", "[1]"), "not a metric name")
	f(with(`{"__name__":""}`, "[1]", "[1]"), "not a metric name")
	f(with(`{"__name__":"up","a.b":"c"}`, "[1]", "[1]"), "not a label name")
	f(with(`{"__name__":"up","a":"b","a":"b"}`, "[1]", "[1]"), "twice")
	f(with(`{"__name__":"up","__name__":"up"}`, "[1]", "[1]"), "twice")
	f(with(`{"__name__":"up","a":"`+strings.Repeat("x", MaxValueBytes+1)+`"}`, "[1]", "[1]"), "over 4096 bytes")
	f(with("{\"__name__\":\"up\",\"a\":\"\xff\"}", "[1]", "[1]"), "not UTF-8")
	f(with("{\"__name__\":\"up\",\"a\":\"\\n\xff\"}", "[1]", "[1]"), "not UTF-8")
	f(with(`{"__name__":"up","a":"\ud800"}`, "[1]", "[1]"), "surrogate")
	f(with(`{"__name__":"up","a":"\ud800\ud800"}`, "[1]", "[1]"), "surrogate")
	f(with(`{"__name__":"up","a":"\udc00x"}`, "[1]", "[1]"), "surrogate")
	f(with(`{"__name__":"up","a":"\u00g0"}`, "[1]", "[1]"), "not an escape")
	f(with("{\"__name__\":\"up\",\"a\":\"\t\"}", "[1]", "[1]"), "control character")
	f(with("{\"__name__\":\"up\",\"a\":\"\\n\t\"}", "[1]", "[1]"), "control character")
	var labels strings.Builder
	for i := range MaxLabels {
		fmt.Fprintf(&labels, `,"a%d":"b"`, i)
	}
	f(with(`{"__name__":"up"`+labels.String()+`}`, "[1]", "[1]"), "more than 30 labels")

	for _, v := range []string{"null", "true", `"1"`, `"NaN"`, "NaN", "Infinity", "-Infinity", "nan", "inf", "+1", "01", "-", ".5", "1.", "1e", "1e+", "0x1", "1_000", "[1]", "{}", "1e9x"} {
		f(with(up, "["+v+"]", "[1]"), "not a number: ")
	}
	f(with(up, "[1e999]", "[1]"), "out of range")
	f(with(up, "[-1e999]", "[1]"), "out of range")
	f(with(up, "[1 2]", "[1]"), "expected ','")
	f(with(up, "1", "[1]"), "values: ")
	f(with(up, "[1,]", "[1]"), "values: ")
	f(with(up, "[,1]", "[1]"), "values: ")
	f(with(up, "[]", "[]"), "no values")
	f(with(up, "[]", "[1]"), "no values")
	f(with(up, "[1]", "[]"), "1 values at 0 timestamps")
	f(with(up, "[1,2]", "[1]"), "2 values at 1 timestamps")
	f(with(up, "[1]", "[1,2]"), "1 values at 2 timestamps")
	for _, v := range []string{"null", `"1"`, "1.0", "1e3", "1.5", "-", "01", "true"} {
		f(with(up, "[1]", "["+v+"]"), "not an integer: ")
	}
	f(with(up, "[1]", "[9223372036854775808]"), "out of range")

	f(with(up, "[1]", "[1]")+"x", "after the object")
	f(with(up, "[1]", "[1]")+with(up, "[1]", "[1]"), "after the object")
	f(with(up, "[1]", "[1]")+"\x00", "after the object")
	f(`{"extra":1,"metric":`+up+`,"values":[1],"timestamps":[1]}`, "unknown key")
	f(`{"Metric":`+up+`,"values":[1],"timestamps":[1]}`, "unknown key")
	f(`{"metric":`+up+`,"values":[1],"timestamps":[1],"values":[2]}`, `key "values" twice`)
	f(`{"metric":`+up+`,"metric":`+up+`,"values":[1],"timestamps":[1]}`, `key "metric" twice`)
	f(`{"metric":`+up+` "values":[1],"timestamps":[1]}`, "expected ','")
	f(`{"metric":`+up+`,"values":[1],"timestamps":[1],}`, "expected")
}

func TestALongLineIsRejectedAndNotBuffered(t *testing.T) {
	good := `{"metric":{"__name__":"up"},"values":[1],"timestamps":[1]}`
	limit := len(good)
	f := func(text string, want ...gotLine) {
		t.Helper()
		got, err := readAll(strings.NewReader(text), Limits{LineBytes: limit})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	up := Line{"up", nil, []float64{1}, []int64{1}}
	long := fmt.Sprintf("line is over %d bytes", limit)
	f(good+"\n"+good+" \n"+good+"\r\n"+good, gotLine{1, up, ""}, gotLine{2, Line{}, long}, gotLine{3, up, ""}, gotLine{4, up, ""})
	f(strings.Repeat("x", 1<<20)+"\n"+good, gotLine{1, Line{}, long}, gotLine{2, up, ""})
	f(strings.Repeat("x", 1<<20), gotLine{1, Line{}, long})

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readAll(io.LimitReader(endless{}, 64<<20), Limits{LineBytes: 1 << 20}); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("one line of 64 MiB took %d bytes of memory at a limit of 1 MiB", took)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReadEndsAtTheSampleLimit(t *testing.T) {
	line := `{"metric":{"__name__":"up"},"values":[1,2],"timestamps":[1,2]}` + "\n"
	got, err := readAll(strings.NewReader(line+"bad\n"+line), Limits{Samples: 4})
	if err != nil || len(got) != 3 {
		t.Errorf("at the limit: %d lines, %v", len(got), err)
	}
	got, err = readAll(strings.NewReader(line+line+line), Limits{Samples: 5})
	if !errors.Is(err, ErrTooManySamples) || len(got) != 2 {
		t.Errorf("over the limit: %d lines, %v", len(got), err)
	}
}

func TestReadEndsWithTheErrorOfEitherSide(t *testing.T) {
	line := `{"metric":{"__name__":"up"},"values":[1],"timestamps":[1]}`
	got, err := readAll(io.MultiReader(strings.NewReader(line+"\n"+line), iotest.ErrReader(io.ErrUnexpectedEOF)), Limits{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 1 {
		t.Errorf("reader fails within line 2: %d lines, %v", len(got), err)
	}
	calls := 0
	stop := errors.New("stop")
	err = Read(strings.NewReader(line+"\n"+line), Limits{}, func(int, Line, error) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("callback fails: %d calls, %v", calls, err)
	}
}

// FuzzRead: whatever the text, Read ends, numbers lines upwards, and takes no
// line that encoding/json or this package's own writer see otherwise.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"metric":{"__name__":"up","a":"\ud83d\ude00\u2028\\"},"values":[1,-0.5e-3],"timestamps":[1,2]}` + "\n"))
	f.Add([]byte("\n\r\n{\"metric\":{},\"values\":[null],\"timestamps\":[1.5]}\r\nx"))
	f.Add([]byte("{ \"values\" : [ 1 ] , \"timestamps\" : [ 1 ] , \"metric\" : { \"__name__\" : \"a\" } } x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		const lineBytes = 200
		rows := bytes.Split(text, []byte("\n"))
		last := 0
		err := Read(bytes.NewReader(text), Limits{LineBytes: lineBytes, Samples: 1000}, func(number int, l Line, refused error) error {
			if number <= last || number > len(rows) {
				t.Fatalf("line %d after %d, of %d", number, last, len(rows))
			}
			last = number
			if refused != nil {
				return nil
			}
			var second struct {
				Metric     map[string]string
				Values     []float64
				Timestamps []int64
			}
			if err := json.Unmarshal(rows[number-1], &second); err != nil {
				t.Fatalf("line %d taken, encoding/json says %v", number, err)
			}
			first := map[string]string{"__name__": l.Name}
			for _, label := range l.Labels {
				first[label.Name] = label.Value
			}
			if diff := cmp.Diff(second.Metric, first) + cmp.Diff(second.Values, l.Values) + cmp.Diff(second.Timestamps, l.Timestamps); diff != "" {
				t.Fatalf("line %d: encoding/json differs: %s", number, diff)
			}
			for _, v := range l.Values {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("line %d: value %v", number, v)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrTooManySamples) {
			t.Fatal(err)
		}
	})
}
