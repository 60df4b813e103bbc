package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// firstCollectors are the default set of 1.0: what every machine has.
var firstCollectors = []string{"cpu.usage", "cpu.temperature", "memory.usage", "disk.io", "disk.usage", "network.traffic", "system.load", "system.uptime"}

// cost is what a set of collectors takes of a board in an hour.
type cost struct {
	cpu     time.Duration // of this process, reading
	wire    int           // bytes of the bodies, as the shipper makes them
	samples int
	series  map[string]bool
}

// TestTheBoardsCollectorsCost lets the first set and the whole default set read
// a board's tree for an hour, in which counters and sensors move, and packs what
// they return as the shipper does, every 30 s.
func TestTheBoardsCollectorsCost(t *testing.T) {
	mode := os.Getenv("MEASURE")
	if mode == "" {
		t.Skip("a measurement: run with MEASURE=print, or make bench")
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	first := hourOf(t, 0, func(name string) bool { return slices.Contains(firstCollectors, name) })
	whole := hourOf(t, 0, func(string) bool { return true })
	streaming := hourOf(t, 4, func(string) bool { return true })
	t.Logf("first set: %4d samples a minute of %3d series, %5d bytes a minute on the wire, %.2f ms CPU a minute",
		first.samples/60, len(first.series), first.wire/60, first.cpu.Seconds()*1000/60)
	t.Logf("whole set: %4d samples a minute of %3d series, %5d bytes a minute on the wire, %.2f ms CPU a minute",
		whole.samples/60, len(whole.series), whole.wire/60, whole.cpu.Seconds()*1000/60)
	t.Logf("the same while it streams over four links: %d samples a minute, %d bytes a minute on the wire (%.2f times)",
		streaming.samples/60, streaming.wire/60, float64(streaming.wire)/float64(first.wire))
	wire, cpu := float64(whole.wire)/float64(first.wire), whole.cpu.Seconds()/first.cpu.Seconds()
	t.Logf("the whole default set costs %.2f times the wire bytes a minute of the default set before (budget 1.6); the reading itself %.2f times the CPU", wire, cpu)
	if mode == "check" && wire > 1.6 {
		t.Errorf("the whole set takes %.2f times the bytes of the first, want at most 1.6", wire)
	}
}

// TestTheWholeDefaultSetCostsLittleMore runs the daemons as they are delivered over
// the same tree, with the first set and with the whole default set, both sending to
// a server.
func TestTheWholeDefaultSetCostsLittleMore(t *testing.T) {
	mode, bin := os.Getenv("MEASURE"), os.Getenv("MEASURE_BIN")
	if mode == "" || bin == "" {
		t.Skip("a measurement: run with MEASURE=print, or make bench")
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	tree := filepath.Join(hosttest.Unpack(t, "fixtures/orangepi5plus.txtar"), "t0")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	collectors := map[string]string{"first": "metrics:\n", "whole": ""}
	for _, m := range config.DefaultMetrics() {
		if slices.Contains(firstCollectors, m.Name) {
			collectors["first"] += fmt.Sprintf("  - {name: %s, interval: %s}\n", m.Name, m.Interval)
		}
	}
	running := map[string][]*program{}
	for set, list := range collectors {
		b := newBoard(t, server.URL, "", "")
		b.bin = bin
		b.write(b.config, fmt.Appendf(nil, `device: {id: board-1}
host: {procfs: %s/proc, sysfs: %[1]s/sys}
storage: {path: %s}
time: {untrusted: ship}
remote: {url: "%s/api/v1/import"}
%s`, tree, b.db, server.URL, list))
		running[set] = []*program{b.start("metrics-collector"), b.start("metrics-shipper")}
	}
	const span = 180 * time.Second
	time.Sleep(45 * time.Second) // until what is done once is done
	spent := map[string][2]float64{}
	measure := func(add float64) {
		for set, daemons := range running {
			sum := spent[set]
			for i, p := range daemons {
				sum[i] += add * useOf(t, p.cmd.Process.Pid).cpu.Seconds() * 1000 / span.Minutes()
			}
			spent[set] = sum
		}
	}
	measure(-1)
	time.Sleep(span)
	measure(1)
	for set, daemons := range running {
		t.Logf("%s set: collector %.2f and shipper %.2f ms CPU a minute, %.2f MB resident", set, spent[set][0], spent[set][1],
			float64(useOf(t, daemons[0].cmd.Process.Pid).resident+useOf(t, daemons[1].cmd.Process.Pid).resident)/1e6)
	}
	first, whole := spent["first"], spent["whole"]
	collector, both := whole[0]/first[0], (whole[0]+whole[1])/(first[0]+first[1])
	t.Logf("the whole default set costs %.2f times the CPU of the default set before (budget 1.5): the collector %.2f times", both, collector)
	if mode == "check" && max(collector, both) > 1.5 {
		t.Errorf("the whole set takes %.2f times the CPU of the first, the collector %.2f times; want at most 1.5", both, collector)
	}
}

// hourOf runs the collectors that pass for an hour of a board's time, with the
// statistics of so many links, 0 for no encoder.
func hourOf(t *testing.T, links int, pass func(name string) bool) cost {
	t.Helper()
	dir := filepath.Join(hosttest.Unpack(t, "fixtures/orangepi5plus.txtar"), "t0")
	cfg := config.Default()
	for i := range cfg.Metrics {
		m := &cfg.Metrics[i]
		m.Enabled = m.Enabled && pass(m.Name)
		switch m.Name {
		case "textfile":
			m.Config.Directory = filepath.Join(dir, "textfile")
		case "stream.links":
			m.Config.TmpDir = dir
		case "hdmi.input":
			m.Config.Devices = []string{filepath.Join(dir, "none")}
		}
	}
	all, err := collect.All(cfg, hosttest.Roots(dir), "1.4.0")
	if err != nil {
		t.Fatal(err)
	}
	c := cost{series: map[string]bool{}}
	moving := mover{random: rand.New(rand.NewPCG(1, 2)), grown: map[string]float64{}}
	begun := time.UnixMilli(1_790_000_000_000)
	var packed bytes.Buffer
	for s := range 3600 {
		now := begun.Add(time.Duration(s) * time.Second)
		if links > 0 && s%10 == 0 {
			moving.send(t, filepath.Join(dir, "srtla-send-stats-9000.json"), links, now)
		}
		for _, one := range all {
			if s%int(one.Interval.Seconds()) != 0 {
				continue
			}
			before := processorTime(t)
			samples, _ := one.Collect(now)
			c.cpu += processorTime(t) - before
			moving.take(samples)
		}
		if s%30 == 29 {
			c.samples += len(moving.samples)
			for _, m := range moving.samples {
				c.series[m.Name+m.Tags] = true
			}
			packed.Reset()
			moving.pack(t, &packed)
			c.wire += packed.Len()
		}
	}
	return c
}

// mover lets the values of a tree that stands still move as those of a board.
type mover struct {
	random  *rand.Rand
	grown   map[string]float64
	samples []metric.Sample
}

// send writes the statistics of a sender, whose numbers are never the same.
func (m *mover) send(t *testing.T, path string, links int, now time.Time) {
	t.Helper()
	var all []string
	for i := range links {
		nak := fmt.Sprint("nak", i)
		m.grown[nak] += float64(m.random.IntN(3))
		all = append(all, fmt.Sprintf(`{"conn_id":"%d","rtt_ms":%d,"nak_count":%.0f,"weight_percent":%d,"window":%d,"in_flight":%d,"bitrate_bps":%d}`, i,
			40+m.random.IntN(30), m.grown[nak], 50+m.random.IntN(50), 4096+m.random.IntN(8192), m.random.IntN(200), 1_500_000+m.random.IntN(1_000_000)))
	}
	hosttest.Write(t, path, fmt.Sprintf(`{"last_updated_ms":%d,"connections":[%s]}`, now.UnixMilli(), strings.Join(all, ",")))
}

func (m *mover) take(samples []metric.Sample) {
	for _, s := range samples {
		e, _ := metric.Lookup(s.Name)
		key := s.Name + s.Tags
		switch {
		case e.Kind == metric.Counter && !strings.Contains(s.Name, "error") && !strings.Contains(s.Name, "drop") && !strings.Contains(s.Name, "changes") && !strings.Contains(s.Name, "kills"):
			m.grown[key] += float64(m.random.IntN(20_000))
			s.Value += m.grown[key]
		case slices.Contains([]string{"percent", "celsius", "bytes", "volts", "tasks", "hertz"}, e.Unit) && !strings.Contains(s.Name, "limit") && !strings.Contains(s.Name, "total") && !strings.Contains(s.Name, "life"):
			s.Value = metric.Round(s.Value * (0.98 + 0.04*m.random.Float64()))
		}
		m.samples = append(m.samples, s)
	}
}

// pack writes what was taken as the body of one request and forgets it.
func (m *mover) pack(t *testing.T, into *bytes.Buffer) {
	t.Helper()
	w, err := gzip.NewWriterLevel(into, 6)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(m.samples, func(a, b metric.Sample) int { return strings.Compare(a.Name+a.Tags, b.Name+b.Tags) })
	for len(m.samples) > 0 {
		n := slices.IndexFunc(m.samples, func(s metric.Sample) bool { return s.Name != m.samples[0].Name || s.Tags != m.samples[0].Tags })
		if n < 0 {
			n = len(m.samples)
		}
		var values []float64
		var times []int64
		for _, s := range m.samples[:n] {
			values, times = append(values, s.Value), append(times, s.TimeMs)
		}
		head, err := vmjson.Head(metric.WireName(m.samples[0].Name), "board-1", m.samples[0].Tags)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(vmjson.Append(nil, head, values, times)); err != nil {
			t.Fatal(err)
		}
		m.samples = m.samples[n:]
	}
	m.samples = nil
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
