package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// expected is what expected.json beside a tree says, computed from the raw files
// by other means. A null is a value that must not be produced.
type expected struct {
	CPU     map[string]map[string]uint64  `json:"cpu"`
	Memory  map[string]*uint64            `json:"memory"`
	Disk    map[string]map[string]float64 `json:"disk"`
	Net     map[string]map[string]float64 `json:"net"`
	Load    map[string]float64            `json:"load"`
	Uptime  *float64                      `json:"uptime_seconds"`
	Thermal map[string]struct {
		Type    string   `json:"type"`
		Celsius *float64 `json:"celsius"`
	} `json:"thermal"`
}

// capturedTrees returns the directories below $METRICS_FIXTURES that have an
// expected.json, in order.
func capturedTrees(t *testing.T) []string {
	t.Helper()
	root := os.Getenv("METRICS_FIXTURES")
	if root == "" {
		t.Skip("METRICS_FIXTURES names no directory of captured /proc and /sys trees")
	}
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "expected.json" {
			dirs = append(dirs, filepath.Dir(path))
		}
		return err
	})
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no expected.json below METRICS_FIXTURES=%s: %v", root, err)
	}
	return dirs
}

func mustExpected(t *testing.T, dir string) expected {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e expected
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return e
}

// capturedRoots returns the tree's roots. Where a link of /sys was stored as a
// file that holds its target, it becomes a link again.
func capturedRoots(t *testing.T, dir string) hostfs.Roots {
	t.Helper()
	roots := hostfs.Roots{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
	zones, err := filepath.Glob(roots.SysPath("class/thermal/thermal_zone*"))
	if err != nil || len(zones) == 0 {
		return roots
	}
	linked := t.TempDir()
	if err := os.MkdirAll(filepath.Join(linked, "class/thermal"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, zone := range zones {
		target, err := filepath.Abs(zone)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(zone); err == nil {
			target = filepath.Join(filepath.Dir(target), strings.TrimSpace(string(text)))
		}
		if err := os.Symlink(target, filepath.Join(linked, "class/thermal", filepath.Base(zone))); err != nil {
			t.Fatal(err)
		}
	}
	roots.Sys = linked
	return roots
}

// samplesOf runs one collector and returns its samples by name and tags. All
// faults it reports must be in allow.
func samplesOf(t *testing.T, c Collector, allow ...string) map[string]float64 {
	t.Helper()
	samples, err := c.Collect(time.Now())
	if err != nil && !errors.Is(err, ErrNoData) {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			known := false
			for _, a := range allow {
				known = known || strings.Contains(line, a)
			}
			if !known {
				t.Errorf("unexpected: %s", line)
			}
		}
	}
	values := map[string]float64{}
	for _, s := range samples {
		values[s.Name+s.Tags] = s.Value
	}
	return values
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := hostfs.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func everything([]byte) bool { return true }

func TestCapturedTreesGiveTheirExpectedValues(t *testing.T) {
	for _, dir := range capturedTrees(t) {
		t.Run(strings.TrimPrefix(strings.TrimPrefix(dir, os.Getenv("METRICS_FIXTURES")), "/"), func(t *testing.T) {
			e := mustExpected(t, dir)
			roots := capturedRoots(t, dir)
			if e.CPU != nil {
				compareCPU(t, e, roots)
			}
			if e.Memory != nil {
				compareMemory(t, e, roots)
			}
			if e.Disk != nil {
				compareDisk(t, e, roots)
			}
			if e.Net != nil {
				compareNet(t, e, roots)
			}
			if e.Thermal != nil {
				compareThermal(t, e, roots)
			}
			if e.Load != nil {
				want := map[string]float64{"system.load1": e.Load["1m"], "system.load5": e.Load["5m"], "system.load15": e.Load["15m"]}
				diff(t, want, samplesOf(t, newLoad(roots)))
			}
			if e.Uptime != nil {
				diff(t, map[string]float64{"system.uptime_seconds": *e.Uptime}, samplesOf(t, newUptime(roots)))
			}
		})
	}
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

var tickNames = [cpuFields]string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

func compareCPU(t *testing.T, e expected, roots hostfs.Roots) {
	t.Helper()
	stat, err := parseStat(mustRead(t, roots.ProcPath("stat")))
	if err != nil {
		t.Error(err)
	}
	got := map[string]map[string]uint64{}
	put := func(key string, c cpuTimes) {
		m := map[string]uint64{"total_excluding_guest": 0}
		for i, v := range c.ticks {
			m[tickNames[i]] = v
			m["total_excluding_guest"] += v
		}
		got[key] = m
	}
	if stat.all != nil {
		put("cpu", *stat.all)
	}
	for n, c := range stat.cores {
		put(fmt.Sprintf("cpu%d", n), c)
	}
	want := map[string]map[string]uint64{}
	for key, fields := range e.CPU {
		m := map[string]uint64{"total_excluding_guest": fields["total_excluding_guest"]}
		for _, f := range tickNames {
			m[f] = fields[f]
		}
		want[key] = m
	}
	diff(t, want, got)
}

func compareMemory(t *testing.T, e expected, roots hostfs.Roots) {
	t.Helper()
	want := map[string]float64{}
	names := map[string]string{
		"MemTotal_bytes": "memory.total_bytes", "MemAvailable_bytes": "memory.available_bytes", "used_bytes": "memory.used_bytes",
		"SwapTotal_bytes": "memory.swap_total_bytes", "swap_used_bytes": "memory.swap_used_bytes",
	}
	var allow []string
	for key, stored := range names {
		if v := e.Memory[key]; v != nil {
			want[stored] = metric.Round(float64(*v))
		} else {
			allow = append(allow, "no line "+strings.TrimSuffix(key, "_bytes")+";")
		}
	}
	diff(t, want, samplesOf(t, newMemory(roots), allow...))
}

func compareDisk(t *testing.T, e expected, roots hostfs.Roots) {
	t.Helper()
	disks, err := parseDiskstats(mustRead(t, roots.ProcPath("diskstats")), everything)
	if err != nil {
		t.Error(err)
	}
	got, want := map[string]map[string]float64{}, map[string]map[string]float64{}
	wantSamples := map[string]float64{}
	for _, d := range disks {
		got[d.name] = map[string]float64{
			"read_ops_total": float64(d.readOps), "read_bytes_total": float64(d.readBytes),
			"write_ops_total": float64(d.writeOps), "write_bytes_total": float64(d.writeBytes),
			"io_time_ms_total": float64(d.ioTimeMs), "weighted_io_time_ms_total": float64(d.weightedMs),
		}
	}
	for device, fields := range e.Disk {
		delete(fields, "fields")
		want[device] = fields
		if wholeDisk(device) {
			for key, v := range fields {
				wantSamples["disk."+key+metric.Tags("device", device)] = metric.Round(v)
			}
		}
	}
	diff(t, want, got)
	gotSamples := samplesOf(t, mustNamed(t, roots, "disk.io"))
	diff(t, wantSamples, gotSamples)
}

// wholeDisk says by hand what the default pattern says.
func wholeDisk(device string) bool {
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	letters := func(s string) bool { return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }
	if n, ok := strings.CutPrefix(device, "mmcblk"); ok {
		return digits(n)
	}
	if rest, ok := strings.CutPrefix(device, "nvme"); ok {
		controller, namespace, ok := strings.Cut(rest, "n")
		return ok && digits(controller) && digits(namespace)
	}
	return len(device) > 2 && (device[:2] == "sd" || device[:2] == "vd") && letters(device[2:])
}

func compareNet(t *testing.T, e expected, roots hostfs.Roots) {
	t.Helper()
	found, err := interfaces(mustRead(t, roots.ProcPath("net", "dev")), everything)
	if err != nil {
		t.Error(err)
	}
	got, want := map[string]map[string]float64{}, map[string]map[string]float64{}
	wantSamples := map[string]float64{"network.interfaces_dropped_total": 0}
	for _, i := range found {
		got[i.Name] = map[string]float64{
			"rx_bytes_total": float64(i.RxBytes), "rx_packets_total": float64(i.RxPackets), "rx_errors_total": float64(i.RxErrors),
			"tx_bytes_total": float64(i.TxBytes), "tx_packets_total": float64(i.TxPackets), "tx_errors_total": float64(i.TxErrors),
		}
	}
	for iface, fields := range e.Net {
		delete(fields, "rx_dropped_total")
		delete(fields, "tx_dropped_total")
		want[iface] = fields
		excluded := iface == "lo" || strings.HasPrefix(iface, "wlan") && strings.HasSuffix(iface, "mon")
		for _, p := range []string{"docker", "veth", "br-", "virbr", "ifb", "dummy"} {
			excluded = excluded || strings.HasPrefix(iface, p)
		}
		if !excluded {
			for key, v := range fields {
				wantSamples["network."+key+metric.Tags("interface", iface)] = metric.Round(v)
			}
		}
	}
	diff(t, want, got)
	diff(t, wantSamples, samplesOf(t, mustNamed(t, roots, "network.traffic")))
}

func compareThermal(t *testing.T, e expected, roots hostfs.Roots) {
	t.Helper()
	want := map[string]float64{}
	hottest, any := math.Inf(-1), false
	for zone, z := range e.Thermal {
		if z.Celsius == nil {
			continue
		}
		kind := z.Type
		if kind == "" {
			kind = zone
		}
		want["thermal.zone_temp"+metric.Tags("zone", kind, "index", strings.TrimPrefix(zone, "thermal_zone"))] = *z.Celsius
		hottest, any = max(hottest, *z.Celsius), true
	}
	if any {
		want["cpu.temperature"] = hottest
	}
	diff(t, want, samplesOf(t, mustNamed(t, roots, "cpu.temperature")))
}

func mustNamed(t testing.TB, roots hostfs.Roots, name string) Collector {
	t.Helper()
	for _, c := range mustAll(t, roots) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no collector %s", name)
	return nil
}

// TestCapturedSequencesGiveThePercentagesOfTheirJiffies follows trees that were
// captured one after the other (t0, t1, …) with one collector, and computes the
// percentages from expected.json by the rule.
func TestCapturedSequencesGiveThePercentagesOfTheirJiffies(t *testing.T) {
	moments := map[string][]string{}
	for _, dir := range capturedTrees(t) {
		if m := filepath.Base(dir); len(m) == 2 && m[0] == 't' && mustExpected(t, dir).CPU != nil {
			moments[filepath.Dir(dir)] = append(moments[filepath.Dir(dir)], dir)
		}
	}
	if len(moments) == 0 {
		t.Skip("no sequences below METRICS_FIXTURES")
	}
	for parent, dirs := range moments {
		t.Run(filepath.Base(parent), func(t *testing.T) {
			link := filepath.Join(t.TempDir(), "proc")
			c := newCPU(hostfs.Roots{Proc: link})
			var before expected
			for i, dir := range dirs {
				if i > 0 {
					if err := os.Remove(link); err != nil {
						t.Fatal(err)
					}
				}
				abs, err := filepath.Abs(filepath.Join(dir, "proc"))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(abs, link); err != nil {
					t.Fatal(err)
				}
				after := mustExpected(t, dir)
				want := map[string]float64{}
				if i > 0 {
					want = percentages(before.CPU, after.CPU)
				}
				got := samplesOf(t, c, "went back from")
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("%s: -want +got:\n%s", dir, d)
				}
				if i > 0 && len(got) < 4 {
					t.Errorf("%s: only %d values", dir, len(got))
				}
				before = after
			}
		})
	}
}

func percentages(before, after map[string]map[string]uint64) map[string]float64 {
	want := map[string]float64{}
	round := func(x float64) float64 { return math.Round(x*1000) / 1000 }
	var total, idle, iowait, steal float64
	for cpu := range after {
		old, ok := before[cpu]
		if cpu == "cpu" || !ok || after[cpu]["total_excluding_guest"] < old["total_excluding_guest"] {
			continue
		}
		var coreTotal, coreIdle float64
		for _, f := range []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"} {
			grown := math.Max(0, float64(after[cpu][f])-float64(old[f]))
			coreTotal += grown
			switch f {
			case "idle":
				coreIdle += grown
			case "iowait":
				coreIdle += grown
				iowait += grown
			case "steal":
				steal += grown
			}
		}
		if coreTotal > 0 {
			want["cpu.usage_percent"+metric.Tags("core", strings.TrimPrefix(cpu, "cpu"))] = round(100 * (coreTotal - coreIdle) / coreTotal)
		}
		total += coreTotal
		idle += coreIdle
	}
	if total > 0 {
		all := metric.Tags("core", "all")
		want["cpu.usage_percent"+all] = round(100 * (total - idle) / total)
		want["cpu.iowait_percent"+all] = round(100 * iowait / total)
		want["cpu.steal_percent"+all] = round(100 * steal / total)
	}
	return want
}
