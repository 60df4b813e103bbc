package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// leaves returns the dotted key of every value in the file, without the list
// of collectors.
func leaves() []string {
	var keys []string
	var walk func(t reflect.Type, parent string)
	walk = func(t reflect.Type, parent string) {
		for f := range t.Fields() {
			at := join(parent, f.Tag.Get("yaml"))
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, at)
			case at != "metrics":
				keys = append(keys, at)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return keys
}

// TestTheShippedFileShowsEveryKeyWithItsDefault keeps configs/config.yaml true:
// it loads as Default, and no key is missing from it.
func TestTheShippedFileShowsEveryKeyWithItsDefault(t *testing.T) {
	data, err := os.ReadFile("../../configs/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse("config.yaml", data, "board")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Device.ID = "board"
	// In the file [] stands for a list without items, in Default nil.
	if diff := cmp.Diff(want, got, cmp.FilterValues(func(a, b []string) bool { return len(a)+len(b) == 0 }, cmp.Ignore())); diff != "" {
		t.Errorf("config.yaml against Default (-want +got):\n%s", diff)
	}

	var c Config
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	w := walker{lines: map[string]int{}, bad: map[string]bool{}}
	w.config(doc.Content[0], &c)
	for _, key := range leaves() {
		if w.lines[key] == 0 {
			t.Errorf("config.yaml lacks %s", key)
		}
	}
	for f := range reflect.TypeFor[MetricConfig]().Fields() {
		for collector := range strings.SplitSeq(f.Tag.Get("of"), ", ") {
			i := slices.IndexFunc(want.Metrics, func(m Metric) bool { return m.Name == collector })
			if key := fmt.Sprintf("metrics[%d].config.%s", i, f.Tag.Get("yaml")); w.lines[key] == 0 {
				t.Errorf("config.yaml lacks %s, of %s", key, collector)
			}
		}
	}
}

func TestTheDevelopmentFileStaysUnderTheCheckout(t *testing.T) {
	c, err := Load("../../configs/config.dev.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(c.Storage.Path, "run/") || c.Logging.Format != "console" || c.LockPath("metrics-shipper") != "run/metrics-shipper.lock" {
		t.Errorf("got %+v, %+v", c.Storage, c.Logging)
	}
}

// TestEveryKeyHasBoundsAndAYAMLName reads the tags, so that a new key cannot be
// without bounds.
func TestEveryKeyHasBoundsAndAYAMLName(t *testing.T) {
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		for f := range of.Fields() {
			want := f.Tag.Get("want")
			low, high, isRange := strings.Cut(want, "..")
			switch {
			case f.Tag.Get("yaml") == "":
				t.Errorf("%s.%s: no yaml tag", of, f.Name)
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type)
			case f.Type == reflect.TypeFor[[]Metric]():
				walk(f.Type.Elem())
			case f.Type.Kind() == reflect.Bool:
			case f.Type == reflect.TypeFor[time.Duration]():
				if !isRange || mustDuration(low) >= mustDuration(high) {
					t.Errorf("%s.%s: want %q is no range", of, f.Name, want)
				}
			case f.Type == reflect.TypeFor[string](), f.Type == reflect.TypeFor[[]string]():
				checkText(want, "x") // panics at a kind it does not know
			default:
				if !isRange || mustInt(low) >= mustInt(high) {
					t.Errorf("%s.%s: want %q is no range", of, f.Name, want)
				}
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestUploadAgeFollowsTheInterval(t *testing.T) {
	for _, c := range []struct {
		interval         time.Duration
		degraded, failed int64
		wantDegraded     time.Duration
		wantFailed       time.Duration
	}{
		{30 * time.Second, 0, 0, time.Minute, 10 * time.Minute},
		{24 * time.Hour, 0, 0, 48 * time.Hour, 480 * time.Hour},
		{time.Minute, 90, 0, 90 * time.Second, 20 * time.Minute},
		{time.Minute, 0, 300, 2 * time.Minute, 5 * time.Minute},
	} {
		cfg := Default()
		cfg.Remote.UploadInterval = c.interval
		cfg.Health.DegradedThreshold.UploadAgeSeconds = c.degraded
		cfg.Health.ErrorThreshold.UploadAgeSeconds = c.failed
		if d, f := cfg.UploadAge(); d != c.wantDegraded || f != c.wantFailed {
			t.Errorf("%+v: got %s, %s", c, d, f)
		}
	}
}

func TestAddrJoinsListenAndPort(t *testing.T) {
	for _, c := range []struct {
		listen string
		port   int
		want   string
	}{
		{"127.0.0.1", 9100, "127.0.0.1:9100"},
		{"127.0.0.1:8080", 9100, "127.0.0.1:8080"},
		{"127.0.0.1:0", 9100, "127.0.0.1:0"},
		{"0.0.0.0", 80, "0.0.0.0:80"},
		{"localhost", 0, "localhost:0"},
		{"localhost:1", 9100, "localhost:1"},
		{"::", 9100, "[::]:9100"},
		{"::1", 9100, "[::1]:9100"},
		{"[::1]", 9100, "[::1]:9100"},
		{"[::1]:8080", 9100, "[::1]:8080"},
		{"fe80::1%eth0", 9100, "[fe80::1%eth0]:9100"},
		{"[fe80::1%eth0]:1", 9100, "[fe80::1%eth0]:1"},
	} {
		if want, got := checkText("listen", c.listen); want != "" {
			t.Errorf("%s: refused, got %s", c.listen, got)
		}
		if got := (Health{Listen: c.listen, Port: c.port}).Addr(); got != c.want {
			t.Errorf("%s and %d: got %s, want %s", c.listen, c.port, got, c.want)
		}
	}
	for _, listen := range []string{"", ":", ":9101", ":0", "[", "[]", "[::1", "[127.0.0.1]", "1.2.3", "a:b", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:080", "::1:x", "a b", "-a", "a/b", "unix:/x"} {
		if want, _ := checkText("listen", listen); want == "" {
			t.Errorf("accepted %q", listen)
		}
	}
}

func TestPatternsMatchWholeNames(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"lo", "lo", true},
		{"lo", "wlo1", false},
		{"lo", "lo0", false},
		{"usb.*|eth0", "usb3", true},
		{"usb.*|eth0", "myusb3", false},
		{"a|b", "bc", false},
		{DefaultAllowedDevices, "sda1", false},
		{DefaultAllowedDevices, "nvme0n1", true},
		{DefaultAllowedDevices, "mmcblk0p1", false},
	} {
		re, err := Pattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if re.MatchString(c.name) != c.want {
			t.Errorf("%s on %s: got %t", c.pattern, c.name, !c.want)
		}
	}
}
