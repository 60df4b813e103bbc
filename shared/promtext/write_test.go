package promtext

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/taniwha3/thugshells/shared/metric"
)

func TestSamplesAreWrittenAsTheFormatWantsThem(t *testing.T) {
	sample := func(name string, value float64, tags ...string) metric.Sample {
		return metric.Sample{Name: name, Tags: metric.Tags(tags...), Value: value}
	}
	var out bytes.Buffer
	err := Write(&out, []metric.Sample{
		sample("cpu.temperature", 52.5), sample("disk.total_bytes", 1e12, "mountpoint", "/a\"b\\\n\u202e"), sample("network.rx_bytes_total", 1, "interface", "eth0"),
		sample("disk.total_bytes", 2, "mountpoint", "/"), sample("own.thing", -0.5),
		sample("collector.collection_duration_seconds_bucket", 3, "collector", "cpu.usage", "le", "0.1"), sample("collector.collection_duration_seconds_count", 3, "collector", "cpu.usage"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{
		"# TYPE cpu_temperature_celsius gauge\ncpu_temperature_celsius 52.5\n",
		"# TYPE disk_total_bytes gauge\ndisk_total_bytes{mountpoint=\"/a\\\"b\\\\\\n\\\\u202e\"} 1e+12\ndisk_total_bytes{mountpoint=\"/\"} 2\n",
		"# HELP network_rx_bytes_total Bytes received.\n# TYPE network_rx_bytes_total counter\n",
		"# TYPE own_thing untyped\nown_thing -0.5\n",
		"# TYPE collector_collection_duration_seconds histogram\ncollector_collection_duration_seconds_bucket{collector=\"cpu.usage\",le=\"0.1\"} 3\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&out)
	if err != nil || len(families) != 5 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

func TestTagsThatAreNoneAreAnError(t *testing.T) {
	if err := Write(&bytes.Buffer{}, []metric.Sample{{Name: "a.b", Tags: "{\x1b"}}); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Error(err)
	}
	if d := cmp.Diff("", func() string { text, _ := labelText("{}"); return text }()); d != "" {
		t.Error(d)
	}
}
