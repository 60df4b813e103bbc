package collect

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
	"github.com/prometheus/procfs/blockdevice"
	"github.com/prometheus/procfs/sysfs"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

// TestAnotherParserReadsTheSameValues has prometheus/procfs read the same files:
// the trees of this repository, and those of METRICS_FIXTURES when it is set.
func TestAnotherParserReadsTheSameValues(t *testing.T) {
	trees, err := filepath.Glob(filepath.Join(fixtures, "*.txtar"))
	if err != nil || len(trees) == 0 {
		t.Fatalf("no trees in %s: %v", fixtures, err)
	}
	var dirs []string
	for _, tree := range trees {
		moments, err := filepath.Glob(filepath.Join(hosttest.Unpack(t, tree), "t[0-9]"))
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, moments...)
	}
	if os.Getenv("METRICS_FIXTURES") != "" {
		dirs = append(dirs, capturedTrees(t)...)
	}
	compared := 0
	for _, dir := range dirs {
		t.Run(strings.TrimPrefix(dir, "/"), func(t *testing.T) { compared += secondOpinion(t, capturedRoots(t, dir)) })
	}
	if compared < 100 {
		t.Errorf("only %d values were compared", compared)
	}
}

func secondOpinion(t *testing.T, roots hostfs.Roots) (compared int) {
	t.Helper()
	same := func(what string, ours, theirs float64) {
		t.Helper()
		compared++
		if math.Abs(ours-theirs) > 1e-9*math.Abs(theirs) {
			t.Errorf("%s: %v, procfs says %v", what, ours, theirs)
		}
	}
	has := func(path string) bool { _, err := os.Stat(path); return err == nil }
	if has(roots.SysPath("class/thermal")) {
		compareZones(t, roots, same)
	}
	if !has(roots.Proc) {
		return compared
	}
	theirs, err := procfs.NewFS(roots.Proc)
	if err != nil {
		t.Fatal(err)
	}
	if path := roots.ProcPath("stat"); has(path) {
		ours, err := parseStat(mustRead(t, path))
		if err != nil {
			t.Error(err)
		}
		stat, err := theirs.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if len(stat.CPU) != len(ours.cores) {
			t.Errorf("%d cores, procfs has %d", len(ours.cores), len(stat.CPU))
		}
		const userHZ = 100
		compare := func(what string, ours cpuTimes, theirs procfs.CPUStat) {
			for i, v := range []float64{theirs.User, theirs.Nice, theirs.System, theirs.Idle, theirs.Iowait, theirs.IRQ, theirs.SoftIRQ, theirs.Steal} {
				same(what+" "+tickNames[i], float64(ours.ticks[i])/userHZ, v)
			}
		}
		compare("cpu", *ours.all, stat.CPUTotal)
		for n, c := range stat.CPU {
			compare(fmt.Sprintf("cpu%d", n), ours.cores[int(n)], c)
		}
	}
	if path := roots.ProcPath("meminfo"); has(path) {
		ours, err := parseMeminfo(mustRead(t, path))
		if err != nil && !strings.Contains(err.Error(), "no line") {
			t.Error(err)
		}
		mem, err := theirs.Meminfo()
		if err != nil {
			t.Logf("procfs gives up on this file: %v", err)
			ours = nil
		}
		for key, v := range map[string]*uint64{"MemTotal": mem.MemTotalBytes, "MemAvailable": mem.MemAvailableBytes, "SwapTotal": mem.SwapTotalBytes, "SwapFree": mem.SwapFreeBytes} {
			if got, ok := ours[key]; ok != (v != nil) {
				t.Errorf("%s: found %v, by procfs %v", key, ok, v != nil)
			} else if ok {
				same(key, float64(got), float64(*v))
			}
		}
	}
	if path := roots.ProcPath("diskstats"); has(path) {
		compareDisks(t, roots, same)
	}
	if path := roots.ProcPath("loadavg"); has(path) {
		ours, err := parseLoad(mustRead(t, path))
		if err != nil {
			t.Error(err)
		}
		load, err := theirs.LoadAvg()
		if err != nil {
			t.Fatal(err)
		}
		same("load1", ours[0], load.Load1)
		same("load5", ours[1], load.Load5)
		same("load15", ours[2], load.Load15)
	}
	if path := roots.ProcPath("net/dev"); has(path) {
		ours, err := interfaces(mustRead(t, path), everything)
		if err != nil {
			t.Fatal(err) // procfs panics on a line that is too short
		}
		dev, err := theirs.NetDev()
		if err != nil {
			t.Fatal(err)
		}
		if len(dev) != len(ours) {
			t.Errorf("%d interfaces, procfs has %d", len(ours), len(dev))
		}
		for _, i := range ours {
			d := dev[i.Name]
			same(i.Name+" rx bytes", float64(i.RxBytes), float64(d.RxBytes))
			same(i.Name+" rx packets", float64(i.RxPackets), float64(d.RxPackets))
			same(i.Name+" rx errors", float64(i.RxErrors), float64(d.RxErrors))
			same(i.Name+" tx bytes", float64(i.TxBytes), float64(d.TxBytes))
			same(i.Name+" tx packets", float64(i.TxPackets), float64(d.TxPackets))
			same(i.Name+" tx errors", float64(i.TxErrors), float64(d.TxErrors))
		}
	}
	return compared
}

func compareDisks(t *testing.T, roots hostfs.Roots, same func(string, float64, float64)) {
	t.Helper()
	disks, _ := parseDiskstats(mustRead(t, roots.ProcPath("diskstats")), everything) // a short line gives what the golden file says
	block, err := blockdevice.NewFS(roots.Proc, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stats, err := block.ProcDiskstats()
	if err != nil {
		t.Logf("procfs gives up on this file: %v", err)
		return
	}
	ours := map[string]disk{}
	for _, d := range disks {
		ours[d.name] = d
	}
	for _, s := range stats {
		if s.IoStatsCount < 14 {
			continue
		}
		d, ok := ours[s.DeviceName]
		if !ok {
			t.Errorf("procfs reads %s, we do not", s.DeviceName)
			continue
		}
		same(d.name+" reads", float64(d.readOps), float64(s.ReadIOs))
		same(d.name+" bytes read", float64(d.readBytes), float64(s.ReadSectors*512))
		same(d.name+" writes", float64(d.writeOps), float64(s.WriteIOs))
		same(d.name+" bytes written", float64(d.writeBytes), float64(s.WriteSectors*512))
		same(d.name+" I/O ms", float64(d.ioTimeMs), float64(s.IOsTotalTicks))
		same(d.name+" weighted ms", float64(d.weightedMs), float64(s.WeightedIOTicks))
	}
}

func compareZones(t *testing.T, roots hostfs.Roots, same func(string, float64, float64)) {
	t.Helper()
	c, err := newThermal(roots, config.MetricConfig{}, "config")
	if err != nil {
		t.Fatal(err)
	}
	zones, err := c.zones()
	if err != nil {
		t.Fatal(err)
	}
	sys, err := sysfs.NewFS(roots.Sys)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := sys.ClassThermalZoneStats()
	if err != nil {
		t.Logf("procfs gives up on these zones: %v", err)
		return
	}
	named := map[string]sysfs.ClassThermalZoneStats{}
	for _, z := range theirs {
		named[z.Name] = z
	}
	for _, index := range zones {
		kind, celsius, err := c.zone(index)
		z, ok := named[fmt.Sprint(index)]
		if err != nil || !ok {
			t.Logf("zone %d: %v; by procfs %v", index, err, ok)
			continue
		}
		if kind != z.Type && z.Type != "" {
			t.Errorf("zone %d is a %s, procfs says %s", index, kind, z.Type)
		}
		if z.Temp < 1 || z.Temp > maxDegrees { // procfs knows no whole degrees
			same(kind, celsius, float64(z.Temp)/1000)
		}
	}
}
