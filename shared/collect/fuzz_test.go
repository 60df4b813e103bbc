package collect

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// The parsers never panic, and what they return without an error can be stored.

func goodName(t *testing.T, s string) {
	t.Helper()
	if s == "" || len(s) > 3*maxName || !utf8.ValidString(s) {
		t.Errorf("a bad name: %q", s)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n"), []byte("cpu  2 2 3 9 5 6 7 8\ncpu0 2 2 3 9 5 6 7 8\n"))
	f.Add([]byte("cpu1 18446744073709551615 0 0 0 0 0 0\ncpu x\ncpu9999999 1\n"), []byte("cpu1 0 0 0 0 0 0 0\n\n\tcpu1"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		before, _ := parseStat(one)
		after, err := parseStat(two)
		if after.empty() && err == nil {
			t.Error("nothing read and nothing wrong")
		}
		for n, c := range after.cores {
			d, err := since(before.cores[n], c)
			if err != nil {
				continue
			}
			for _, v := range []float64{d.total, d.idle, d.iowait, d.steal, d.busy()} {
				if v < 0 || math.IsNaN(v) || v > d.total {
					t.Errorf("core %d: %+v", n, d)
				}
			}
		}
	})
}

func FuzzParseMeminfo(f *testing.F) {
	f.Add([]byte("MemTotal:       16222924 kB\nMemAvailable:   14411332 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"))
	f.Add([]byte("MemTotal: 18014398509481984 kB\nMemTotal:1 kB\n:\nSwapFree kB"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMeminfo(data)
		if len(m)+Failed(err) < 4 {
			t.Errorf("%d values and %d faults of 4", len(m), Failed(err))
		}
	})
}

func FuzzParseDiskstats(f *testing.F) {
	f.Add([]byte(" 179       0 mmcblk0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n   8 1 sda1 1 2 3 4\n"))
	f.Add([]byte("8 0 sda 1 2 18446744073709551615 4 5 6 7 8 9 10 11\n8 0 sda"))
	f.Fuzz(func(t *testing.T, data []byte) {
		disks, _ := parseDiskstats(data, everything)
		seen := map[string]bool{}
		for _, d := range disks {
			goodName(t, d.name)
			if seen[d.name] {
				t.Errorf("%q twice", d.name)
			}
			seen[d.name] = true
		}
	})
}

func FuzzParseNetDev(f *testing.F) {
	f.Add([]byte(headings + "  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nlo: 1\n"))
	f.Add([]byte("eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n:\n::::\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, _ := interfaces(data, everything)
		seen := map[string]bool{}
		for _, i := range found {
			goodName(t, i.Name)
			if seen[i.Name] {
				t.Errorf("%q twice", i.Name)
			}
			seen[i.Name] = true
		}
	})
}

func FuzzParseLoadAndUptime(f *testing.F) {
	for _, s := range []string{"3.10 2.80 2.10 4/412 9120\n", "6871.20 48812.55\n", "nan inf 1e5", "1.2.3 . ..", "0x1p4 1_0 +1"} {
		f.Add([]byte(s))
	}
	good := func(t *testing.T, v float64) {
		t.Helper()
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Errorf("%v", v)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if load, err := parseLoad(data); err == nil {
			for _, v := range load {
				good(t, v)
			}
		}
		if v, err := parseUptime(data); err == nil {
			good(t, v)
		}
	})
}

func FuzzParseMillidegrees(f *testing.F) {
	for _, s := range []string{"45230", "-274000", "0", "1e3", "+5", "99999999999999999999", "0x10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseMillidegrees(s); err == nil && !(v >= -60 && v <= 250) {
			t.Errorf("%q: %v", s, v)
		}
	})
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte("/dev/sda1 /mnt/SD\\040card ext4 rw 0 0\noverlay / overlay rw 0 0\n"))
	f.Add([]byte("\\057dev/x \\057 \\0 \\\n/dev/a /\\000 ext4 rw\n"))
	f.Add([]byte("30 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 30 8:17 /a /b rw shared:1 - ext4 /dev/sdb1 rw\n32 31 8:17 / /b rw - ext4 /dev/sdb1 rw\n"))
	f.Add([]byte("1 2 8:1 / /a - ext4 /dev/a\n2 1 8:2 / /a rw - ext4 /dev/b rw\n2 2 8:2 / / rw - ext4 /dev/b rw\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		older, _ := parseMounts(data)
		checkFilesystems(t, newMountTable(older, false))
		mounts, _ := parseMountinfo(data)
		checkFilesystems(t, newMountTable(mounts, true))
	})
}

// checkFilesystems says what holds for every table: the root comes first, each
// device once, and each place is a visible mountpoint of its device.
func checkFilesystems(t *testing.T, table mountTable) {
	t.Helper()
	devices := map[string]bool{}
	for i, f := range table.filesystems() {
		if devices[f.device] || len(f.points) == 0 || (f.points[0] == "/") != (i == 0) {
			t.Errorf("filesystem %d: %+v", i, f)
		}
		devices[f.device] = true
		for _, p := range f.points {
			m, ok := table.at(p)
			if i > 0 && (!ok || m.device != f.device) || !strings.HasPrefix(p, "/") || strings.Contains(p, "\x00") {
				t.Errorf("%q of %s: %+v", p, f.device, m)
			}
		}
	}
}
