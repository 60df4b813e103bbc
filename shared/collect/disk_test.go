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

func TestDefaultDevicesAreWholeDisks(t *testing.T) {
	re, err := wholeName(config.DefaultAllowedDevices)
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
		if re, err := wholeName(pattern); err == nil {
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

func TestFilesystemsOnBlockDevicesCountOnce(t *testing.T) {
	const table = `proc /proc proc rw 0 0
/dev/mmcblk1p2 /var/lib/service ext4 rw 0 0
/dev/mmcblk1p2 / ext4 rw 0 0
/dev/mmcblk1p1 /boot vfat rw 0 0
/dev/mmcblk1p1 /efi2 vfat rw 0 0
/dev/loop3 /snap/core squashfs ro 0 0
/dev/sr0 /cd squashfs ro 0 0
/dev/zram0 /var/log ext4 rw 0 0
/dev/ram0 /ram ext2 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/sda1 /mnt/SD\040card\134x\011\043 exfat rw 0 0
/dev/sdb1 /media ext4 rw 0 0
tmpfs /media tmpfs rw 0 0
/dev/sdc1 /etc/hosts ext4 rw 0 0
/dev/sdd1 /data/volume ext4 rw 0 0
/dev/sdd1 /etc/x ext4 rw 0 0
`
	mounts, err := parseMounts([]byte(table))
	if err != nil {
		t.Fatal(err)
	}
	isDir := func(path string) bool { return !strings.HasPrefix(path, "/etc/") }
	want := []string{"/", "/boot", "/data/volume", "/mnt/SD card\\x\t#"}
	if d := cmp.Diff(want, onBlockDevices(mounts, isDir)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestUnescapeReadsOctalOnly(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `/a\0`: `/a\0`, `/a\04`: `/a\04`, `/a\`: `/a\`, `/\089`: `/\089`, `/\134040`: `/\040`, `/\400`: `/\400`, `/\377`: "/\xff",
	} {
		if got := unescape([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDiskUsageAsksTheFilesystem(t *testing.T) {
	dir, here := t.TempDir(), t.TempDir()
	roots := hosttest.Roots(dir)
	escaped := strings.ReplaceAll(here, " ", `\040`)
	hosttest.Write(t, roots.ProcPath("mounts"), "overlay / overlay rw 0 0\n/dev/sda1 "+escaped+" ext4 rw 0 0\n")
	room, err := hostfs.Filesystem(here)
	if err != nil {
		t.Skipf("this system cannot tell: %v", err)
	}
	points := func(cfg config.MetricConfig) (got []string, err error) {
		c, err := newDiskUsage(roots, cfg, "config")
		if err != nil {
			t.Fatal(err)
		}
		samples, err := c.Collect(time.Now())
		for _, s := range samples {
			got = append(got, s.Name+s.Tags)
			switch {
			case s.Name == "disk.total_bytes" && strings.Contains(s.Tags, here) && s.Value != float64(room.Total):
				t.Errorf("total %v, want %d", s.Value, room.Total)
			case s.Name == "disk.used_bytes" && (s.Value < 0 || s.Value > float64(room.Total) && strings.Contains(s.Tags, here)):
				t.Errorf("used %v of %d", s.Value, room.Total)
			}
		}
		return got, err
	}
	three := func(point string) []string {
		tags := `{"mountpoint":"` + point + `"}`
		return []string{"disk.total_bytes" + tags, "disk.used_bytes" + tags, "disk.available_bytes" + tags}
	}
	got, err := points(config.MetricConfig{})
	if d := cmp.Diff(three(here), got); d != "" || err != nil {
		t.Errorf("by itself: %v\n%s", err, d)
	}
	got, err = points(config.MetricConfig{Mountpoints: []string{"/", here + "/", "/not/mounted"}})
	if d := cmp.Diff(slices.Concat(three("/"), three(here)), got); d != "" {
		t.Errorf("configured:\n%s", d)
	}
	if Failed(err) != 1 || !strings.Contains(err.Error(), `nothing is mounted at "/not/mounted"`) {
		t.Errorf("configured: %v", err)
	}
	// The table of this process comes before that of the system.
	hosttest.Write(t, roots.ProcPath("self/mounts"), "overlay / overlay rw 0 0\ngarbage\n")
	got, err = points(config.MetricConfig{})
	if d := cmp.Diff(three("/"), got); d != "" || Failed(err) != 1 {
		t.Errorf("in a container: %v\n%s", err, d)
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
	if !regexp.MustCompile(`MemTotal comes twice; the first counts`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
}
