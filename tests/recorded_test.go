package tests

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

// recordedPath is a run of the programs, as the server gave it back: see TestRecord.
const recordedPath = "testdata/recorded.jsonl.gz"

// recordedLinks carry so many bytes a second out.
var recordedLinks = map[string]float64{"enP4p65s0": 2e5, "wwan0": 4e5, "wwan1": 1e5, "usb0": 5e4}

// TestRecord records again what TestEveryPanelShowsARecordedRun shows:
//
//	RECORD_MINUTES=22 go test -count 1 -timeout 1h -run '^TestRecord$' ./tests
//
// The collector and the shipper run with their default intervals on this machine,
// with made-up links and thermal zones, and the server is away for three minutes
// in the middle.
func TestRecord(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("RECORD_MINUTES"), 64)
	if err != nil {
		t.Skip("RECORD_MINUTES is not set")
	}
	server := newVictoria(t)
	b := newBoard(t, server.base, "", "")
	for _, name := range []string{"stat", "meminfo", "diskstats", "loadavg", "uptime", "self", "mounts"} {
		path := filepath.Join(b.proc, name)
		os.Remove(path)
		if err := os.Symlink(filepath.Join("/proc", name), path); err != nil {
			t.Fatal(err)
		}
	}
	sys := filepath.Join(b.dir, "sys")
	b.write(b.config, fmt.Appendf(nil, `device: {id: recorded}
host: {procfs: %s, sysfs: %s}
storage: {path: %s}
remote: {url: "%s/api/v1/import"}
monitoring: {clock_skew_url: "%[4]s/health"}
`, b.proc, sys, b.db, server.base))

	begun := time.Now()
	machine := func() {
		s := time.Since(begun).Seconds()
		dev := bytes.NewBufferString("Inter-|   Receive                                                |  Transmit\n" +
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
		for name, rate := range recordedLinks {
			out := rate * (s + 5*math.Sin(s/10))
			fmt.Fprintf(dev, "%s: %.0f %.0f 0 0 0 0 0 0 %.0f %.0f %d 0 0 0 0 0\n", name, out/20, out/5e3, out, out/1e3, int(s)/300)
		}
		b.write(filepath.Join(b.proc, "net", "dev"), dev.Bytes())
		for i, zone := range []string{"soc-thermal", "gpu-thermal"} {
			dir := filepath.Join(sys, "class", "thermal", fmt.Sprint("thermal_zone", i))
			b.write(filepath.Join(dir, "type"), []byte(zone+"\n"))
			b.write(filepath.Join(dir, "temp"), fmt.Appendf(nil, "%d\n", 55_000-3000*i+int(4000*math.Sin(s/200))))
		}
	}
	machine()
	collector, shipper := b.start("metrics-collector"), b.start("metrics-shipper")
	for s := 0.0; s < 60*minutes; s++ {
		switch s {
		case math.Floor(30 * minutes):
			server.run.stop()
		case math.Floor(30*minutes) + 180:
			server.start()
		}
		machine()
		time.Sleep(time.Until(begun.Add(time.Duration((s + 1) * float64(time.Second)))))
	}
	collector.stop()
	shipper.stop()
	b.drain()
	get(server.base + "/internal/force_flush")
	lines, status := get(server.base + `/api/v1/export?match[]={device_id="recorded"}`)
	if status != 200 {
		t.Fatal(lines)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, lines)
	w.Close()
	if err := os.WriteFile(recordedPath, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", packed.Len())
}

// A recordedSeries is a line of the recording.
type recordedSeries struct {
	Metric     map[string]string
	Values     []float64
	Timestamps []int64
}

// recordedRun returns the recording, as the lines that it has and read.
func recordedRun(t *testing.T) (lines []byte, all []recordedSeries) {
	t.Helper()
	f, err := os.Open(recordedPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if lines, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(lines) {
		var s recordedSeries
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return lines, all
}

// TestEveryPanelShowsARecordedRun asks a server that holds what the programs
// really sent all that the dashboards and the page ask, and judges it by the rules. It lost nothing:
// only losses are left to the made-up recording.
func TestEveryPanelShowsARecordedRun(t *testing.T) {
	lines, all := recordedRun(t)
	from, to := all[0].Timestamps[0], all[0].Timestamps[0]
	for _, s := range all {
		from, to = min(from, s.Timestamps[0]), max(to, s.Timestamps[len(s.Timestamps)-1])
	}
	s := show{base: startVictoria(t), from: time.UnixMilli(from), to: time.UnixMilli(to), boards: []string{"recorded"}, bare: true}
	load(t, s.base, lines)
	s.check(t)

	// The server was away for three of the 22 minutes, and the board is well.
	if raised := raisedIn(t, s.base, s.from.Add(5*time.Minute), s.to); !slices.Equal(raised, []string{"recorded UploadsFail"}) {
		t.Errorf("raised %q, want UploadsFail alone", raised)
	}

	for _, b := range blocks(t, "docs/victoriametrics-setup.md") {
		for expr := range strings.Lines(b.text) {
			expr = strings.ReplaceAll(strings.TrimSpace(expr), "board-1", "recorded")
			if b.language != "promql" || expr == "" || strings.HasPrefix(expr, "#") || strings.Contains(expr, "storage_lost_total") {
				continue
			}
			if series, err := askAt(t.Context(), s.base, expr, s.to); err != nil || len(series) == 0 {
				t.Errorf("docs/victoriametrics-setup.md:%d: %s: %d series, %v", b.line, expr, len(series), err)
			}
		}
	}
}

// TestThePeriodsAreTheDaemons holds the made-up recording, and the boards that
// alerts are tried on, to what the programs sent: every metric, as often.
func TestThePeriodsAreTheDaemons(t *testing.T) {
	_, all := recordedRun(t)
	seen := map[string][]recordedSeries{}
	for _, s := range all {
		seen[s.Metric["__name__"]] = append(seen[s.Metric["__name__"]], s)
	}
	for _, e := range metric.Catalog {
		suffixes := []string{""}
		if e.Kind == metric.Histogram {
			suffixes = []string{"_bucket", "_sum", "_count"}
		}
		for _, suffix := range suffixes {
			series := seen[metric.WireName(e.Name)+suffix]
			delete(seen, metric.WireName(e.Name)+suffix)
			if len(series) == 0 && e.Name != "storage.lost_total" && !onlySomeHave(e.Name) {
				t.Errorf("the recorded run has no %s%s", e.Name, suffix)
			}
			for _, s := range series {
				var apart []int64
				for i := range s.Timestamps[1:] {
					apart = append(apart, s.Timestamps[i+1]-s.Timestamps[i])
				}
				slices.Sort(apart)
				if len(apart) == 0 {
					t.Errorf("the recorded run has one sample of %s%s", e.Name, suffix)
				} else if got, want := float64(apart[len(apart)/2])/1000, period(e.Name); math.Abs(got-want) > want/15 {
					t.Errorf("%s%s is sent every %v s, period says %v", e.Name, suffix, got, want)
				}
			}
		}
	}
	if len(seen) > 0 {
		t.Errorf("not in the catalogue: %v", slices.Sorted(maps.Keys(seen)))
	}
}
