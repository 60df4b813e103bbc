package collect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// textfiles runs the collector once over files and returns its samples as
// lines, without those of the times, and its error.
func textfiles(t *testing.T, files map[string]string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for n, content := range files {
		hosttest.Write(t, filepath.Join(dir, n), content)
	}
	now := time.Now()
	samples, err := newTextfile(config.MetricConfig{Directory: dir}).Collect(now)
	var kept []string
	for line := range strings.Lines(text(t, samples, now)) {
		if !strings.HasPrefix(line, "textfile.mtime_seconds") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, ""), err
}

func TestFilesOfTheOperatorAreReadWholeOrNotAtAll(t *testing.T) {
	var many, more strings.Builder
	for i := range 150 {
		fmt.Fprintf(&many, "many%d 1\n", i)
		fmt.Fprintf(&more, "more%d 1\n", i)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
		fault string
	}{
		{"two files", map[string]string{"a.prom": "x{b=\"2\",a=\"1\"} 1\n", "b.prom": "y 2\n"}, "x{\"a\":\"1\",\"b\":\"2\"} 1\ny 2\n", ""},
		{"what is no such file", map[string]string{"a.txt": "x 1\n", "a.prom.tmp": "x 1", "README": ""}, "", ""},
		{"one bad of two", map[string]string{"a.prom": "x 1\nhalf{a=\"b", "b.prom": "y 2\n"}, "y 2\n", "/a.prom: line 2: "},
		{"time stamps", map[string]string{"a.prom": "x 1 1795430300000\n"}, "", "/a.prom: line 1: x has a timestamp"},
		{"a series of two files", map[string]string{"a.prom": "x{a=\"1\"} 1\n", "b.prom": "y 1\nx{a=\"1\"} 2\n"}, "x{\"a\":\"1\"} 1\n", "/b.prom: line 2: x with these labels is in a.prom already"},
		{"a metric of ours", map[string]string{"a.prom": "y 1\ncpu_temperature_celsius 99\n"}, "", "/a.prom: line 2: cpu_temperature_celsius is the name of a metric that this program has itself"},
		{"a part of a histogram of ours", map[string]string{"a.prom": "uploader_upload_duration_seconds_bucket{le=\"1\"} 99\n"}, "", "that this program has itself"},
		{"another board's label", map[string]string{"a.prom": "x{device_id=\"board-2\"} 1\n"}, "", "label device_id"},
		{"too many", map[string]string{"a.prom": many.String(), "b.prom": more.String(), "c.prom": "z 1\n"}, many150("many") + "z 1\n", "/b.prom: line 51: more than 50 samples"},
		{"too large", map[string]string{"a.prom": "x 1\n" + strings.Repeat("#\n", 128<<10)}, "", "all files together may have 262144"},
		{"too large together", map[string]string{"a.prom": "x 1\n" + strings.Repeat("#\n", 100<<10), "b.prom": "y 1\n" + strings.Repeat("#\n", 100<<10)}, "x 1\n", "/b.prom: "},
		{"a long name", map[string]string{strings.Repeat("f", 80) + ".prom": "x 1\n"}, "", "a name of 85 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := textfiles(t, tt.files)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			want := 0
			if tt.fault != "" {
				want = 1
			}
			if Failed(err) != want || want > 0 && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%d failed: %v; want %q", Failed(err), err, tt.fault)
			}
		})
	}
}

func many150(name string) string {
	var b strings.Builder
	for i := range 150 {
		fmt.Fprintf(&b, "%s%d 1\n", name, i)
	}
	return b.String()
}

func TestTheAgeOfAFileIsAMetric(t *testing.T) {
	dir := t.TempDir()
	hosttest.Write(t, filepath.Join(dir, "a.prom"), "x 1\n")
	hosttest.Write(t, filepath.Join(dir, "bad.prom"), "x\n")
	written := time.UnixMilli(1_790_000_000_500)
	if err := os.Chtimes(filepath.Join(dir, "a.prom"), written, written); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	samples, err := newTextfile(config.MetricConfig{Directory: dir}).Collect(now)
	if want, got := "x 1\ntextfile.mtime_seconds{\"file\":\"a.prom\"} 1790000000.5\n", text(t, samples, now); got != want || Failed(err) != 1 {
		t.Errorf("%v, got %s", err, got)
	}
}

// TestAFileWithNewLabelsEachTimeIsRejectedBeforeItTakesAllRoom: others, and itself
// once it holds still, are taken on; a day later there is room again.
func TestAFileWithNewLabelsEachTimeIsRejectedBeforeItTakesAllRoom(t *testing.T) {
	dir := t.TempDir()
	c := newTextfile(config.MetricConfig{Directory: dir})
	begun, series := time.Now(), map[string]bool{}
	round := func(n int, labels string) (own, failed int) {
		t.Helper()
		var b strings.Builder
		for i := range 150 {
			fmt.Fprintf(&b, "x{at=\"%s\",i=\"%d\"} 1\n", labels, i)
		}
		hosttest.Write(t, filepath.Join(dir, "a.prom"), b.String())
		hosttest.Write(t, filepath.Join(dir, "b.prom"), "y 1\n")
		samples, err := c.Collect(begun.Add(time.Duration(n) * 30 * time.Second))
		for _, s := range samples {
			series[s.Name+s.Tags] = true
			if s.Name == "y" {
				own++
			}
		}
		if err != nil && !strings.Contains(err.Error(), "/a.prom: line 100: the files have had 1000 different series") {
			t.Fatal(err)
		}
		return own, Failed(err)
	}
	refused := 0
	for n := range 100 {
		own, failed := round(n, fmt.Sprint(n))
		if own != 1 {
			t.Fatalf("the other file is not taken in round %d", n)
		}
		refused += failed
	}
	if len(series) > maxTextSeen+2 || refused < 90 {
		t.Errorf("%d series, refused %d times of 100", len(series), refused)
	}
	if _, failed := round(101, "3"); failed != 0 {
		t.Error("labels of an earlier round are refused")
	}
	if _, failed := round(101+2*60*24+1, "later"); failed != 0 {
		t.Error("a day later there is no room")
	}
}

func TestAMissingDirectoryIsSilentAndAFIFODoesNotHang(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "textfile")
	c := newTextfile(config.MetricConfig{Directory: dir})
	if samples, err := c.Collect(time.Now()); len(samples) > 0 || Failed(err) != 0 {
		t.Errorf("%d samples, %v", len(samples), err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "a.prom"), 0o644); err != nil {
		t.Fatal(err)
	}
	if samples, err := c.Collect(time.Now()); len(samples) > 0 || Failed(err) != 1 {
		t.Errorf("%d samples, %v", len(samples), err)
	}
}

// TestGivenTextfilesGiveTheirExpectedValues runs over the files that
// METRICS_FIXTURES has.
func TestGivenTextfilesGiveTheirExpectedValues(t *testing.T) {
	found := false
	for _, dir := range capturedTrees(t) {
		data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
		if err != nil {
			t.Fatal(err)
		}
		var expected map[string]json.RawMessage
		if err := json.Unmarshal(data, &expected); err != nil {
			t.Fatal(err)
		}
		for file, raw := range expected {
			if !strings.HasSuffix(file, ".prom") {
				continue
			}
			found = true
			content, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			got, err := textfiles(t, map[string]string{file: string(content)})
			var rows [][3]any
			if json.Unmarshal(raw, &rows) != nil {
				if got != "" || Failed(err) != 1 {
					t.Errorf("%s: %s%v; want %s", file, got, err, raw)
				}
				continue
			}
			var want strings.Builder
			for _, row := range rows {
				var pairs []string
				for name, value := range row[1].(map[string]any) {
					pairs = append(pairs, name, value.(string))
				}
				fmt.Fprintf(&want, "%s%s %.10g\n", row[0], metric.Tags(pairs...), row[2])
			}
			if got != want.String() || err != nil {
				t.Errorf("%s: got %s%v, want %s", file, got, err, want.String())
			}
		}
	}
	if !found {
		t.Skip("no textfiles below METRICS_FIXTURES")
	}
}

// FuzzTextfilesOnTheWire writes any bytes into two files, and what comes out of
// them onto the wire: each sample is one line of this board, no series comes
// twice, none is one of this program's.
func FuzzTextfilesOnTheWire(f *testing.F) {
	for _, s := range []string{
		"x 1\n", "x{device_id=\"b\"} 1\n", "x{a=\"\\n{\\\"metric\\\":{}}\\n\"} 1\n", "x{a=\"\"} 1\nx 1\n", "cpu_usage_percent 1\n", "x{a=\"\u2028\\\\\"} 1\n",
		"textfile_mtime_seconds{file=\"a.prom\"} 1\n", "x{__name__=\"y\"} 1\n", "x 1e308\n", "x{a=\"\x00\"} 1\n",
	} {
		f.Add([]byte(s), []byte("x 1\n"))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, one, two []byte) {
		for n, content := range map[string][]byte{"a.prom": one, "b.prom": two} {
			if err := os.WriteFile(filepath.Join(dir, n), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		samples, _ := newTextfile(config.MetricConfig{Directory: dir}).Collect(now)
		seen := map[string]bool{}
		for _, s := range samples {
			wire := metric.WireName(s.Name)
			if s.Name != "textfile.mtime_seconds" && metric.Reserved(wire) {
				t.Errorf("%s is ours", s.Name)
			}
			head, err := vmjson.Head(wire, "board-1", s.Tags)
			if err != nil {
				t.Fatalf("%s%s cannot be sent: %v", s.Name, s.Tags, err)
			}
			line := vmjson.Append(nil, head, []float64{s.Value}, []int64{s.TimeMs})
			if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
				t.Fatalf("%q is not one line", line)
			}
			var read struct {
				Metric     map[string]string
				Values     []float64
				Timestamps []int64
			}
			if err := json.Unmarshal(line, &read); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if read.Metric["device_id"] != "board-1" || read.Metric["__name__"] != wire || bytes.Count(line, []byte(`"device_id":`)) != 1 && !strings.Contains(s.Tags, "device_id") {
				t.Errorf("%q is of another board or metric", line)
			}
			for label, value := range read.Metric {
				if value == "" {
					t.Errorf("%q: the label %s is empty", line, label)
				}
			}
			if key := fmt.Sprint(read.Metric); seen[key] {
				t.Errorf("%s comes twice", key)
			} else {
				seen[key] = true
			}
		}
	})
}
