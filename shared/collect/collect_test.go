package collect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

func TestFailedCountsReadings(t *testing.T) {
	one := errors.New("one")
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{ErrNoData, 0},
		{fmt.Errorf("cpu: %w", ErrNoData), 0},
		{one, 1},
		{&os.PathError{Op: "open", Path: "/proc/stat", Err: syscall.ENOENT}, 1},
		{errors.Join(one, ErrNoData), 1},
		{errors.Join(ErrNoData, ErrNoData), 0},
		{errors.Join(one, one, one), 3},
		{fmt.Errorf("read /proc/stat: %w", errors.Join(one, errors.Join(one, one), ErrNoData)), 3},
		{errors.Join(one, further(40)), 41},
	} {
		if got := Failed(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestManyFaultsAreCountedAndFewAreKept(t *testing.T) {
	var f faults
	for i := range 1000 {
		f.addf("line %d", i)
	}
	f.fault(errors.Join(errors.New("a"), errors.New("b")))
	err := f.err()
	if got := Failed(err); got != 1002 {
		t.Errorf("%d, want 1002", got)
	}
	if n := strings.Count(err.Error(), "\n"); n != maxFaults || !strings.Contains(err.Error(), "and 986 more") {
		t.Errorf("%d lines: %v", n, err)
	}
}

func TestAllNamesTheKeyThatIsWrong(t *testing.T) {
	m := func(name string, c config.MetricConfig) config.Metric {
		return config.Metric{Name: name, Interval: time.Second, Enabled: true, Config: c}
	}
	off := m("no.such", config.MetricConfig{})
	off.Enabled = false
	still := m("system.load", config.MetricConfig{})
	still.Interval = 0
	cfg := config.Config{Metrics: []config.Metric{
		off,
		m("srt.stats", config.MetricConfig{}),
		m("disk.io", config.MetricConfig{AllowedDevices: "sd[a-z"}),
		m("disk.usage", config.MetricConfig{Mountpoints: []string{"/", "data"}}),
		m("network.traffic", config.MetricConfig{IncludeIfaces: []string{"a", "b)("}, ExcludeIfaces: []string{"*"}}),
		still,
		m("system.uptime", config.MetricConfig{}),
		m("system.uptime", config.MetricConfig{}),
	}}
	all, err := All(cfg, hostfs.Roots{Proc: "/proc", Sys: "/sys"}, "test")
	if err == nil || all != nil {
		t.Fatalf("got %v, %v", all, err)
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{
		`metrics[1].name: no collector is called "srt.stats"`,
		"metrics[2].config.allowed_devices: ",
		`metrics[3].config.mountpoints[1]: "data"`,
		"metrics[4].config.include_ifaces[1]: ",
		"metrics[4].config.exclude_ifaces[0]: ",
		"metrics[4].config.max_interfaces: must be at least 1, got 0",
		"metrics[5].interval: must be > 0",
		"metrics[7].name: system.uptime is listed twice",
	}
	if len(lines) != len(want) {
		t.Errorf("%d errors, want %d: %v", len(lines), len(want), err)
	}
	for i := range min(len(lines), len(want)) {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("got %q, want %q", lines[i], want[i])
		}
	}
}

func TestAllKeepsOrderIntervalAndPriority(t *testing.T) {
	cfg := config.Default()
	cfg.Metrics[1].Enabled = false
	cfg.Metrics[2].Priority = 0
	all, err := All(cfg, hostfs.Roots{Proc: "/proc", Sys: "/sys"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range all {
		fmt.Fprintf(&got, "%s %v %d; ", c.Name, c.Interval, c.Priority)
	}
	want := "cpu.usage 10s 2; memory.usage 30s 0; disk.io 30s 2; disk.usage 1m0s 2; network.traffic 10s 2; system.load 30s 2; system.uptime 1m0s 2; "
	if !strings.HasPrefix(got.String(), want) {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
}

// sources is every file that a collector reads, below the tree's directory.
var sources = map[string]string{
	"cpu.usage":       "proc/stat",
	"cpu.temperature": "sys/class/thermal/thermal_zone0/temp",
	"memory.usage":    "proc/meminfo",
	"disk.io":         "proc/diskstats",
	"disk.usage":      "proc/self/mountinfo",
	"network.traffic": "proc/net/dev",
	"system.load":     "proc/loadavg",
	"system.uptime":   "proc/uptime",
}

// always returns the collectors whose source every machine has.
func always(t testing.TB, roots hostfs.Roots) []Scheduled {
	t.Helper()
	return slices.DeleteFunc(mustAll(t, roots), func(c Scheduled) bool { return sources[c.Name] == "" })
}

// TestHostileFilesGiveErrorsAndNoInventedValues puts the same nonsense in the
// place of every source. Nothing may panic or hang, every round must say that it
// failed, and no value of the source may come out: only what is true without it.
func TestHostileFilesGiveErrorsAndNoInventedValues(t *testing.T) {
	hostile := map[string]string{
		"empty":          "",
		"blank lines":    "\n\n \t \n",
		"NUL":            strings.Repeat("\x00", 300),
		"garbage":        "\xff\xfe\x01 \"'`$(reboot) ; | { } \\\n=== ---\n",
		"a 1 MB line":    strings.Repeat("cpu0 9", 1<<18),
		"1 MB of lines":  strings.Repeat("x\n", 1<<19),
		"NaN":            "NaN NaN NaN NaN\n",
		"inf":            "inf +Inf -inf 1e999 0x10p4\n",
		"a letter":       "cpu0 1 2 3 4 5 6 7 x 9 10\neth0: 1 2 3 4 5 6 7 8 9 10 x 12 13 14 15 16\n8 0 sda 1 2 3 4 5 6 7 8 9 10 x\nMemTotal: x kB\nMemAvailable: 12 MB\nSwapTotal: kB\nSwapFree: -1 kB\n",
		"beyond 64 bits": "cpu0 18446744073709551616 0 0 0 0 0 0 0\ncpu1 18446744073709551615 1 0 0 0 0 0 0\neth0: 99999999999999999999 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n8 0 sda 0 0 36028797018963968 0 0 0 0 0 0 0 0\nMemTotal: 18446744073709551615 kB\nMemAvailable: 99999999999999999999 kB\n",
		"cut short":      "cpu\ncpu0 1 2 3\n 8 0\n 8 0 sda 1 2\neth0: 1 2 3\neth1:\neth2: 1 2 3 4 5 6 7 8 9 10 11 12\n: 1\nMemTotal:\nMemAvailable: 1\n",
		"negative":       "-1 -2 -3\ncpu0 -1 0 0 0 0 0 0\neth0: -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n8 0 sda -1 0 0 0 0 0 0 0 0 0 0\nMemTotal: -1 kB\n",
	}
	for what, content := range hostile {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for _, path := range sources {
				hosttest.Write(t, filepath.Join(dir, path), content)
			}
			for _, c := range always(t, hosttest.Roots(dir)) {
				for range 2 {
					now := time.Now()
					samples, err := c.Collect(now)
					got := text(t, samples, now)
					switch {
					case c.Name == "disk.usage":
						// With no table there is still the root filesystem.
						if strings.Count(got, "\n") != 3 || !strings.Contains(got, `disk.total_bytes{"mountpoint":"/"}`) {
							t.Errorf("%s: %v, %s", c.Name, err, got)
						}
						if strings.TrimSpace(content) == "" {
							continue
						}
					case c.Name == "network.traffic":
						if got != "network.interfaces_dropped_total 0\n" {
							t.Errorf("%s: %s", c.Name, got)
						}
					case got != "":
						t.Errorf("%s: %s", c.Name, got)
					}
					if c.Name == "disk.io" && strings.TrimSpace(content) == "" {
						if !errors.Is(err, ErrNoData) {
							t.Errorf("%s: %v, want ErrNoData: a machine without disks", c.Name, err)
						}
						continue
					}
					if Failed(err) == 0 {
						t.Errorf("%s: %v is no failure", c.Name, err)
					}
					if err != nil && len(err.Error()) > 8000 {
						t.Errorf("%s: an error of %d bytes", c.Name, len(err.Error()))
					}
				}
			}
		})
	}
}

func TestAPathThatIsNotAFileFailsAtOnce(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"a FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"missing":     func(string) error { return nil },
		"endless":     func(path string) error { return os.Symlink("/dev/zero", path) },
		"too big":     func(path string) error { return os.WriteFile(path, make([]byte, 9<<20), 0o644) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for _, path := range sources {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := put(path); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range always(t, hosttest.Roots(dir)) {
				samples, err := c.Collect(time.Now())
				if len(samples) > 0 || Failed(err) != 1 {
					t.Errorf("%s: %d samples, %v", c.Name, len(samples), err)
				}
			}
		})
	}
}

func TestErrorsQuoteLittleOfALine(t *testing.T) {
	_, err := parseLoad([]byte("1.0 2.0 " + strings.Repeat("ö\n\x00\"", 1000)))
	if err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "\x00") {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
	_, err = parseLoad([]byte("1.0 2.0 x3.0 4/412 9120\n"))
	if want := `line "1.0 2.0 x3.0 4/412 9120": "x3.0" is not a decimal number; no load this round`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
