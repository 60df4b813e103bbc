package collect

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

func TestSectorsAre512BytesWhateverTheDeviceSays(t *testing.T) {
	dir := t.TempDir()
	hosttest.Write(t, filepath.Join(dir, "sys/block/nvme0n1/queue/logical_block_size"), "4096\n")
	hosttest.Write(t, filepath.Join(dir, "proc/diskstats"), "259 0 nvme0n1 1 2 10 4 5 6 20 8 9 4294967295 4294967294\n259 1 nvme0n1p1 1 2 3\n 8 0 sdaa 1 2 3 4 5 6 7 8 9 10 11 12\n 8 1 sdaa1 1 2 3 4\n")
	now := time.Now()
	samples, err := mustNamed(t, hosttest.Roots(dir), "disk.io").Collect(now)
	if err != nil { // lines of partitions are not ours to judge
		t.Error(err)
	}
	want := `read_ops_total{"device":"nvme0n1"} 1
read_bytes_total{"device":"nvme0n1"} 5120
write_ops_total{"device":"nvme0n1"} 5
write_bytes_total{"device":"nvme0n1"} 10240
io_time_ms_total{"device":"nvme0n1"} 4294967295
weighted_io_time_ms_total{"device":"nvme0n1"} 4294967294
read_ops_total{"device":"sdaa"} 1
read_bytes_total{"device":"sdaa"} 1536
write_ops_total{"device":"sdaa"} 5
write_bytes_total{"device":"sdaa"} 3584
io_time_ms_total{"device":"sdaa"} 10
weighted_io_time_ms_total{"device":"sdaa"} 11
`
	if d := cmp.Diff(want, strings.ReplaceAll(text(t, samples, now), "disk.", "")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestACountThatIsNotUsedCostsNoDiskItsFigures(t *testing.T) {
	const good = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13"
	want, err := parseDiskstats([]byte(good), everything)
	if err != nil || len(want) != 1 {
		t.Fatal(err)
	}
	fields := strings.Fields(good)
	used := map[int]bool{2: true, 3: true, 5: true, 7: true, 9: true, 12: true, 13: true}
	for i := range fields {
		for _, bad := range []string{"-1", "x", "99999999999999999999", "1.5"} {
			line := slices.Clone(fields)
			line[i] = bad
			got, err := parseDiskstats([]byte(strings.Join(line, " ")+"\n8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n"), everything)
			switch {
			case i == 2: // the name
			case used[i] && (len(got) != 1 || got[0].name != "sdb" || Failed(err) != 1):
				t.Errorf("field %d is %s: %+v, %v", i+1, bad, got, err)
			case !used[i] && (len(got) != 2 || got[0] != want[0] || err != nil):
				t.Errorf("field %d, which is not used, is %s: %+v, %v", i+1, bad, got, err)
			}
		}
	}
}

func TestDefaultDevicesAreWholeDisks(t *testing.T) {
	re, err := config.Pattern(config.DefaultAllowedDevices)
	if err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]bool{
		"sda": true, "sdab": true, "nvme0n1": true, "mmcblk1": true, "vda": true, "mmcblk12": true,
		"sda1": false, "nvme0n1p1": false, "mmcblk0p2": false, "mmcblk0boot0": false, "xsda": false, "zram0": false, "loop0": false, "mtdblock0": false, "sda\nx": false,
	} {
		if re.MatchString(device) != want {
			t.Errorf("%q: %v, want %v", device, !want, want)
		}
	}
	for _, pattern := range []string{"a)|(b", "sda)(sdb", "["} {
		if re, err := config.Pattern(pattern); err == nil {
			t.Errorf("%q became %v", pattern, re)
		}
	}
}

func TestDevicesAreBounded(t *testing.T) {
	dir := t.TempDir()
	var table strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&table, "8 0 d%05d 1 2 3 4 5 6 7 8 9 10 11\n", i)
	}
	hosttest.Write(t, filepath.Join(dir, "diskstats"), table.String())
	c, err := newDiskIO(hostfs.Roots{Proc: dir}, config.MetricConfig{AllowedDevices: ".*"}, "config")
	if err != nil {
		t.Fatal(err)
	}
	samples, err := c.Collect(time.Now())
	if len(samples) != 6*maxDevices || Failed(err) != 1 {
		t.Errorf("%d samples, %v", len(samples), err)
	}
}

func TestMeminfoThatContradictsItselfGivesNoDifference(t *testing.T) {
	dir := t.TempDir()
	hosttest.Write(t, filepath.Join(dir, "meminfo"), "MemTotal: 100 kB\nMemAvailable: 101 kB\nSwapTotal: 10 kB\nSwapFree: 11 kB\nMemTotal: 7 kB\n")
	now := time.Now()
	samples, err := newMemory(hostfs.Roots{Proc: dir}).Collect(now)
	if got, want := text(t, samples, now), "memory.total_bytes 102400\nmemory.swap_total_bytes 10240\n"; got != want || Failed(err) != 3 {
		t.Errorf("%s %v", got, err)
	}
	if !regexp.MustCompile(`MemTotal appears twice; the first one is used`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}
