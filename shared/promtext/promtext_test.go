package promtext

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func flat(samples []Sample) map[string]float64 {
	all := map[string]float64{}
	for _, s := range samples {
		key := s.Name
		for _, l := range s.Labels {
			key += fmt.Sprintf(" %s=%q", l.Name, l.Value)
		}
		all[key] = s.Value
	}
	return all
}

func TestATextIsReadAsItWasWritten(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       map[string]float64
	}{
		{"nothing", "", map[string]float64{}},
		{"comments and blank lines", "# a comment\n\n#\n# HELP\n# TYPE x\n \t\n", map[string]float64{}},
		{"a bare value", "volts 12.6\n", map[string]float64{"volts": 12.6}},
		{"blanks", "\t volts \t -1.5e-3\n", map[string]float64{"volts": -0.0015}},
		{"labels", `used{link="10.0.0.1",operator="Test \"Net\"\\\n"} 1.234e+09` + "\n", map[string]float64{`used link="10.0.0.1" operator="Test \"Net\"\\\n"`: 1.234e9}},
		{"blanks between labels", "x { b = \"2\" , a = \"1\" , } 3\n", map[string]float64{`x a="1" b="2"`: 3}},
		{"a label without a value is none", "x{a=\"\"} 3\n", map[string]float64{"x": 3}},
		{"no value is no sample", "x NaN\ny 1\n", map[string]float64{"y": 1}},
		{"a histogram", "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 2\nx_sum 3\nx_count 2\n", map[string]float64{`x_bucket le="+Inf"`: 2, "x_sum": 3, "x_count": 2}},
		{"colons", "a:b 1\n", map[string]float64{"a:b": 1}},
		{"a brace in a value", "x{a=\"}{,\"} 1\n", map[string]float64{`x a="}{,"`: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text), 100)
			if d := cmp.Diff(tt.want, flat(got)); d != "" || err != nil {
				t.Errorf("%v, -want +got:\n%s", err, d)
			}
		})
	}
}

func TestABadTextIsRejectedWholeWithItsLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"cut short in a label", "ok 1\nhalf{a=\"b", "line 2: ends without a line feed"},
		{"cut short in a value", "ok 1\nhalf 12", "line 2: ends without a line feed"},
		{"a time stamp", "ok 1\nstamped 5 1795430300000\n", "line 2: stamped has a timestamp"},
		{"a reserved label", "x{device_id=\"other\"} 1\n", "line 1: x: the label device_id is reserved and must not be in a file"},
		{"the name as a label", "x{__name__=\"y\"} 1\n", "the label __name__ is reserved and must not be in a file"},
		{"a series twice", "x{a=\"1\",b=\"2\"} 1\ny 2\nx{b=\"2\",a=\"1\"} 3\n", "line 3: x appears twice with the same labels, first on line 1"},
		{"a series twice but for an empty label", "x 1\nx{a=\"\"} 1\n", "line 2: x appears twice"},
		{"a label twice", "x{a=\"1\",a=\"2\"} 1\n", "the label a appears twice"},
		{"no value", "x\n", "no value"},
		{"no value after labels", "x{a=\"1\"}\n", "x has no value"},
		{"an infinite value", "x +Inf\n", "the value of x is not finite"},
		{"a number beyond all", "x 1e999\n", `"1e999" is not a number`},
		{"a hexadecimal number", "x 0x1p4\n", "is not a number"},
		{"a carriage return", "x 1\r\n", `"1\r" is not a number`},
		{"an unknown escape", `x{a="\t"} 1` + "\n", `only \\, \n and \" are escapes`},
		{"a value that is not UTF-8", "x{a=\"\xff\"} 1\n", "is not UTF-8"},
		{"a dotted name", "cpu.usage 1\n", `"cpu.usage" is not the name of a metric`},
		{"a quoted name", "{\"cpu.usage\"} 1\n", "is not the name of a metric"},
		{"a dashed label", "x{a-b=\"1\"} 1\n", `"a-b" is not the name of a label`},
		{"a line of another format", "{\"metric\":{\"__name__\":\"x\"}}\n", "is not the name of a metric"},
		{"two types", "# TYPE x gauge\n# TYPE x counter\n", "line 2: a second TYPE"},
		{"a type too late", "x 1\n# TYPE x counter\n", "line 2: a second TYPE"},
		{"no such type", "# TYPE x number\n", `"number" is not a type`},
		{"two helps", "# HELP x a\n# HELP x a\n", "a second HELP"},
		{"a long label", "x{a=\"" + strings.Repeat("v", 1025) + "\"} 1\n", "over 1024 bytes"},
		{"a long name", strings.Repeat("v", 257) + " 1\n", "is not the name of a metric"},
		{"many samples", "a 1\nb 1\nc 1\nd 1\n", "line 4: more than 3 samples"},
		{"a bound that is none", "# TYPE x histogram\nx_bucket{le=\"\"} 1\n", "line 2: the label le of x_bucket is no number"},
		{"a blank at the end", "x 1 \n", "line 1: a blank after the value of x"},
		{"NUL", "\x00\n", "line 1: no value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text), 3)
			var where *Error
			if got != nil || !errors.As(err, &where) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// oracle is what Prometheus' own parser makes of a text, NaN left out.
func oracle(text []byte) (map[string]float64, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.GetLabel()
			slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
			key := name
			for _, l := range labels {
				if l.GetValue() != "" {
					key += fmt.Sprintf(" %s=%q", l.GetName(), l.GetValue())
				}
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				all[key] = m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				all[key] = m.GetGauge().GetValue()
			case dto.MetricType_UNTYPED:
				all[key] = m.GetUntyped().GetValue()
			default:
				return nil, nil // of several lines each: only that they are taken is compared
			}
		}
	}
	maps.DeleteFunc(all, func(_ string, v float64) bool { return math.IsNaN(v) })
	return all, nil
}

// FuzzParseAgreesWithPrometheus: what is taken here is taken there, and is the
// same; and it can be sent.
func FuzzParseAgreesWithPrometheus(f *testing.F) {
	for _, text := range []string{
		"", "x 1\n", "x{a=\"1\",} 2\n", "# TYPE x counter\nx 1\n", "# HELP x \\n\nx{a=\"\\\"\\\\\\n\"} NaN\n", "# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_sum 1\n",
		"# TYPE x summary\nx{quantile=\"0.5\"} 2\nx_count 1\n", "x{device_id=\"1\"} 2\n", "x{a=\"1\"} 1 2\n", "x{a=\"b\nc\"} 1\n", "x{,} 1\n", "x 1e999\n", "#TYPE x y\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		samples, err := Parse(text, 1000)
		if err != nil {
			if samples != nil {
				t.Error("samples of a text that is refused")
			}
			return
		}
		want, err := oracle(text)
		if err != nil {
			t.Fatalf("Prometheus refuses what is taken here: %v", err)
		}
		if want == nil {
			return
		}
		if d := cmp.Diff(want, flat(samples)); d != "" {
			t.Errorf("-Prometheus +here:\n%s", d)
		}
	})
}
