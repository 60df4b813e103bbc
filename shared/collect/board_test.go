package collect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

// boardFiles is every file that a collector of what boards have reads, and how
// many readings fail when it holds nonsense.
var boardFiles = map[string][]string{
	"soc.load": {
		"sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "sys/class/devfreq/gpu/cur_freq", "sys/class/devfreq/gpu/load",
		"sys/class/thermal/cooling_device0/cur_state", "proc/mpp_service/load",
	},
	"network.health": {
		"sys/class/net/eth0/operstate", "sys/class/net/eth0/carrier_changes", "sys/class/net/eth0/speed",
		"sys/class/net/eth0/statistics/tx_dropped", "proc/net/snmp", "proc/net/softnet_stat",
	},
	"unit.usage": {
		"sys/fs/cgroup/system.slice/belaUI.service/cpu.stat", "sys/fs/cgroup/system.slice/belaUI.service/memory.current",
		"sys/fs/cgroup/system.slice/belaUI.service/memory.events", "sys/fs/cgroup/system.slice/belaUI.service/pids.current",
	},
	"board.power":     {"sys/class/hwmon/hwmon0/in0_input", "sys/class/hwmon/hwmon0/curr1_input", "sys/class/hwmon/hwmon0/pwm1"},
	"system.pressure": {"proc/pressure/cpu", "proc/pressure/memory"},
	"storage.wear":    {"sys/bus/mmc/devices/mmc0:0001/life_time", "sys/bus/mmc/devices/mmc0:0001/pre_eol_info"},
}

func TestNonsenseInABoardsFilesIsAFailedReadingAndNoValue(t *testing.T) {
	for what, content := range map[string]string{
		"NUL":            strings.Repeat("\x00", 100),
		"garbage":        "\xff\xfe\x01 \"'`$(reboot) ; | { } \\\n=== ---\n",
		"a long line":    strings.Repeat("cpu0 9", 1<<12),
		"NaN":            "NaN\n",
		"inf":            "inf\n",
		"hex of nothing": "0x\n",
		"beyond 64 bits": "99999999999999999999\n",
		"negative":       "-99999999999\n",
		"two numbers":    "1 2 x\n",
	} {
		for collector, paths := range boardFiles {
			for _, path := range paths {
				t.Run(what+"/"+path, func(t *testing.T) {
					dir := t.TempDir()
					hosttest.Write(t, filepath.Join(dir, "sys/class/hwmon/hwmon0/name"), "chip")
					hosttest.Write(t, filepath.Join(dir, path), content)
					c := named(t, hosttest.Roots(dir), collector)
					now := time.Now()
					samples, err := c.Collect(now)
					if got := text(t, samples, now); got != "" {
						t.Errorf("values of nonsense: %s", got)
					}
					if n := Failed(err); n == 0 || len(err.Error()) > 8000 {
						t.Errorf("%d failed: %v", n, err)
					}
				})
			}
		}
	}
}

func named(t testing.TB, roots hostfs.Roots, name string) Scheduled {
	t.Helper()
	for _, c := range mustAll(t, roots) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no collector %s", name)
	return Scheduled{}
}

func TestAMissingDeviceIsSilentAndFoundWhenItComes(t *testing.T) {
	roots := rootsOf(t, nil)
	for collector, paths := range boardFiles {
		c := named(t, roots, collector)
		if samples, err := c.Collect(time.Now()); !errors.Is(err, ErrNoData) || Failed(err) != 0 || len(samples) > 0 {
			t.Errorf("%s: %d samples, %v", collector, len(samples), err)
		}
		hosttest.Write(t, filepath.Join(filepath.Dir(roots.Proc), paths[0]), "x")
		if collector == "board.power" {
			hosttest.Write(t, roots.SysPath("class/hwmon/hwmon0/name"), "chip")
		}
		if _, err := c.Collect(time.Now()); Failed(err) == 0 {
			t.Errorf("%s: what came later is not found: %v", collector, err)
		}
	}
}

func TestAPathThatIsNotAFileOfABoardFailsAtOnce(t *testing.T) {
	for collector, paths := range boardFiles {
		for _, path := range paths {
			roots := rootsOf(t, map[string]string{"sys/class/hwmon/hwmon0/name": "chip", path + ".txt": ""})
			if err := syscall.Mkfifo(filepath.Join(filepath.Dir(roots.Proc), path), 0o600); err != nil {
				t.Fatal(err)
			}
			if samples, err := named(t, roots, collector).Collect(time.Now()); len(samples) > 0 || Failed(err) != 1 {
				t.Errorf("%s: a FIFO at %s: %d samples, %v", collector, path, len(samples), err)
			}
		}
	}
}

// TestASpeedThatTheKernelDoesNotReportIsNotStored reads the file of a link that has none, as
// the kernel has it: to read it is an error.
func TestASpeedThatTheKernelDoesNotReportIsNotStored(t *testing.T) {
	const loopback = "/sys/class/net/lo/speed"
	if _, err := os.ReadFile(loopback); !errors.Is(err, syscall.EINVAL) {
		t.Skipf("this kernel answers %v", err)
	}
	roots := rootsOf(t, map[string]string{"sys/class/net/eth0/operstate": "up"})
	if err := os.Symlink(loopback, roots.SysPath("class", "net", "eth0", "speed")); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	samples, err := named(t, roots, "network.health").Collect(now)
	if got := text(t, samples, now); err != nil || got != "network.up{\"interface\":\"eth0\"} 1\n" {
		t.Errorf("%s, %v", got, err)
	}
}

// collected runs one collector once over files and returns its samples as
// lines, and its failed readings.
func collected(t *testing.T, collector string, files map[string]string) (string, int) {
	t.Helper()
	now := time.Now()
	samples, err := named(t, rootsOf(t, files), collector).Collect(now)
	return strings.TrimSuffix(text(t, samples, now), "\n"), Failed(err)
}

func TestValuesAreReadAsEachKernelWritesThem(t *testing.T) {
	const gpu, eth, mmc = "sys/class/devfreq/gpu/", "sys/class/net/eth0/", "sys/bus/mmc/devices/mmc0:0001/"
	for _, tt := range []struct {
		name, collector string
		files           map[string]string
		want            string
		failed          int
	}{
		{"a load at a clock", "soc.load", map[string]string{gpu + "load": "22@300000000Hz\n"}, `soc.load_percent{"unit":"gpu"} 22`, 0},
		{"a bare load", "soc.load", map[string]string{gpu + "load": "71\n"}, `soc.load_percent{"unit":"gpu"} 71`, 0},
		{"an empty load", "soc.load", map[string]string{gpu + "load": "\n"}, "", 0},
		{"a load without its clock's unit", "soc.load", map[string]string{gpu + "load": "22@300000000\n"}, "", 1},
		{"a load over 100", "soc.load", map[string]string{gpu + "load": "101\n"}, "", 1},
		{"codecs that nobody armed", "soc.load", map[string]string{"proc/mpp_service/load": ""}, "", 0},
		{
			"one codec of two", "soc.load",
			map[string]string{"proc/mpp_service/load": "a load: 1.5% utilization: 0.5%\nb load: x% utilization: 1%\na load: 2% utilization: 2%\n"},
			"soc.codec_load_percent{\"core\":\"a\"} 1.5\nsoc.codec_utilization_percent{\"core\":\"a\"} 0.5", 2,
		},
		{"a clock that the driver does not know", "soc.load", map[string]string{"sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "<unknown>\n"}, "", 0},
		{"processors with one clock", "soc.load", map[string]string{
			"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000", "sys/devices/system/cpu/cpu0/cpufreq/related_cpus": "0 1",
			"sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1000", "sys/devices/system/cpu/cpu1/cpufreq/related_cpus": "0 1",
		}, `soc.frequency_hz{"unit":"cpu0"} 1000000`, 0},
		{"a cooling device without a type", "soc.load", map[string]string{"sys/class/thermal/cooling_device3/cur_state": "1"}, `soc.cooling_state{"device":"cooling_device3","index":"3"} 1`, 0},
		{"a link without a speed", "network.health", map[string]string{eth + "speed": "-1\n"}, "", 0},
		{"a speed of a kernel without a sign", "network.health", map[string]string{eth + "speed": "4294967295\n"}, "", 0},
		{"a link that is going to sleep", "network.health", map[string]string{eth + "operstate": "dormant"}, `network.up{"interface":"eth0"} 0`, 0},
		{"a state of no kernel", "network.health", map[string]string{eth + "operstate": "sideways"}, "", 1},
		{"the table of the bonding driver", "network.health", map[string]string{"sys/class/net/bonding_masters": "bond0\n"}, "", 0},
		{
			"an old kernel's datagrams", "network.health",
			map[string]string{"proc/net/snmp": "Udp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 5 6 7 8\n"},
			"udp.in_datagrams_total 5\nudp.out_datagrams_total 8\nudp.no_ports_total 6\nudp.in_errors_total 7", 0,
		},
		{"a count less than names", "network.health", map[string]string{"proc/net/snmp": "Udp: InDatagrams NoPorts\nUdp: 5\n"}, "udp.in_datagrams_total 5", 1},
		{"no datagrams", "network.health", map[string]string{"proc/net/snmp": "Ip: A\nIp: 1\n"}, "", 1},
		{
			"packets of an old kernel", "network.health",
			map[string]string{"proc/net/softnet_stat": "0000000a 00000001 0000000f\n000000ff 00000000 00000001\n"},
			"softnet.processed_total 265\nsoftnet.dropped_total 1\nsoftnet.squeezed_total 16", 0,
		},
		{
			"a row of packets cut short", "network.health",
			map[string]string{"proc/net/softnet_stat": "0000000a 00000001 0000000f\n000000ff\n"},
			"softnet.processed_total 10\nsoftnet.dropped_total 1\nsoftnet.squeezed_total 15", 1,
		},
		{"a life that is over", "storage.wear", map[string]string{mmc + "life_time": "0x0b 0x00"}, `storage.life_used_percent{"device":"mmc0:0001","type":"a"} 110`, 0},
		{
			"a life of no card", "storage.wear",
			map[string]string{mmc + "life_time": "0x0c 0x01", mmc + "block/mmcblk0boot0/size": "", mmc + "block/mmcblk0/size": ""},
			`storage.life_used_percent{"device":"mmcblk0","type":"b"} 10`, 1,
		},
		{"half a life", "storage.wear", map[string]string{mmc + "life_time": "0x01"}, "", 1},
		{"spare blocks not defined", "storage.wear", map[string]string{mmc + "pre_eol_info": "0x00"}, "", 0},
		{"spare blocks beyond urgent", "storage.wear", map[string]string{mmc + "pre_eol_info": "0x04"}, "", 1},
		{
			"pressure before 5.13", "system.pressure",
			map[string]string{"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"},
			`pressure.waiting_seconds_total{"resource":"cpu"} 1.5`, 0,
		},
		{
			"pressure without a total", "system.pressure",
			map[string]string{"proc/pressure/io": "some avg10=0.00\nfull avg10=0.00 total=2000000\n"},
			`pressure.stalled_seconds_total{"resource":"io"} 2`, 1,
		},
		{
			"a current that flows out", "board.power",
			map[string]string{"sys/class/hwmon/hwmon0/name": "bat", "sys/class/hwmon/hwmon0/curr1_input": "-1500"},
			`power.amperes{"sensor":"bat/curr1"} -1.5`, 0,
		},
		{"two chips of one name", "board.power", map[string]string{
			"sys/class/hwmon/hwmon0/name": "ina", "sys/class/hwmon/hwmon0/in0_input": "1000", "sys/class/hwmon/hwmon1/name": "ina", "sys/class/hwmon/hwmon1/in0_input": "2000",
		}, "power.volts{\"sensor\":\"ina hwmon0/in0\"} 1\npower.volts{\"sensor\":\"ina hwmon1/in0\"} 2", 0},
		{"a supply that is a chip too", "board.power", map[string]string{
			"sys/class/hwmon/hwmon0/name": "tcpm_source_psy_4_0022", "sys/class/hwmon/hwmon0/in0_input": "5000", "sys/class/power_supply/tcpm-source-psy-4-0022/voltage_now": "5000000",
		}, `power.volts{"sensor":"tcpm_source_psy_4_0022/in0"} 5`, 0},
		{"two sensors of one label", "storage.wear", map[string]string{
			"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": "1000", "sys/class/hwmon/hwmon0/temp1_label": "Sensor",
			"sys/class/hwmon/hwmon0/temp2_input": "2000", "sys/class/hwmon/hwmon0/temp2_label": "Sensor",
		}, "storage.temperature_celsius{\"device\":\"nvme\",\"sensor\":\"Sensor temp2\"} 2\nstorage.temperature_celsius{\"device\":\"nvme\",\"sensor\":\"Sensor\"} 1", 0},
		{"a unit without a kill", "unit.usage", map[string]string{"sys/fs/cgroup/system.slice/belaUI.service/memory.events": "oom 0\noom_kill 0\n"}, `unit.oom_kills_total{"unit":"belaUI.service"} 0`, 0},
		{"a unit's events without the line", "unit.usage", map[string]string{"sys/fs/cgroup/system.slice/belaUI.service/memory.events": "oom 0\n"}, "", 1},
		{
			"a board with a name", "board.info",
			map[string]string{"proc/device-tree/model": "A board\x00", "proc/sys/kernel/osrelease": "6.1.99\n"},
			`board.info{"kernel":"6.1.99","model":"A board","version":"test"} 1`, 0,
		},
		{"a machine without one", "board.info", nil, `board.info{"version":"test"} 1`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, failed := collected(t, tt.collector, tt.files)
			if got != tt.want || failed != tt.failed {
				t.Errorf("got  %s, %d failed\nwant %s, %d failed", got, failed, tt.want, tt.failed)
			}
		})
	}
}

func TestInstancesOfATemplateAreFoundInTheirSlice(t *testing.T) {
	roots := rootsOf(t, map[string]string{`sys/fs/cgroup/system.slice/system-srt\x2dlive.slice/srt-live@cam.service/pids.current`: "3\n"})
	c := newUnits(roots, config.MetricConfig{Units: []string{"srt-live@cam.service"}})
	now := time.Now()
	samples, err := c.Collect(now)
	if got := text(t, samples, now); got != "unit.tasks{\"unit\":\"srt-live@cam.service\"} 3\n" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestPacketsAreCountedOverWrapsAndProcessorsThatGo(t *testing.T) {
	var s softnetTotals
	row := func(cpu uint64, n uint32) softnetRow { return softnetRow{cpu, [3]uint32{n, 0, 0}} }
	for i, tt := range []struct {
		rows []softnetRow
		want uint64
	}{
		{[]softnetRow{row(0, 1<<32-10), row(1, 100)}, 1<<32 + 90},
		{[]softnetRow{row(0, 5), row(1, 100)}, 1<<32 + 105}, // wrapped
		{[]softnetRow{row(1, 110)}, 1<<32 + 115},            // processor 0 is offline
		{[]softnetRow{row(0, 7), row(1, 110)}, 1<<32 + 117},
	} {
		if got := s.sum(tt.rows)[0]; got != tt.want {
			t.Errorf("round %d: %d, want %d", i, got, tt.want)
		}
	}
}

func TestDevicesBeyondTheBoundAreCounted(t *testing.T) {
	files := map[string]string{}
	for i := range maxOfKind + 5 {
		files[fmt.Sprintf("sys/class/thermal/cooling_device%d/cur_state", i)] = "0"
	}
	c := named(t, rootsOf(t, files), "soc.load")
	var last string
	for range 2 {
		now := time.Now()
		samples, err := c.Collect(now)
		if err != nil || len(samples) != maxOfKind+1 {
			t.Fatalf("%d samples, %v", len(samples), err)
		}
		last = text(t, samples, now)
	}
	if want := "collector.devices_dropped_total{\"collector\":\"soc.load\"} 10\n"; !strings.HasSuffix(last, want) {
		t.Errorf("got %s", last)
	}
}

func TestANewDeviceNeverDisplacesAReportedOne(t *testing.T) {
	c := choice{most: 2}
	var got []string
	for _, names := range [][]string{{"b", "c"}, {"a", "b", "c"}, {"a", "c"}, {"a", "b", "c"}} {
		got = append(got, strings.Join(c.of(names), " "))
	}
	if d := cmp.Diff([]string{"b c", "b c", "a c", "a c"}, got); d != "" || c.dropped != 2 {
		t.Errorf("-want +got:\n%s%d dropped", d, c.dropped)
	}
}

func TestAValueThatHardlyChangesIsReportedEveryTenthTime(t *testing.T) {
	roots := rootsOf(t, map[string]string{
		"sys/class/devfreq/gpu/cur_freq": "1", "sys/class/devfreq/gpu/max_freq": "2", "sys/class/thermal/cooling_device0/max_state": "3",
		"sys/class/net/eth0/speed": "1000", "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "4",
	})
	soc, links := named(t, roots, "soc.load"), named(t, roots, "network.health")
	var full []int
	for round := range 21 {
		a, _ := soc.Collect(time.Now())
		b, _ := links.Collect(time.Now())
		if len(a)+len(b) == 5 {
			full = append(full, round)
		} else if len(a)+len(b) != 1 {
			t.Errorf("round %d: %v %v", round, a, b)
		}
	}
	if d := cmp.Diff([]int{0, 10, 20}, full); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestAMachineWithoutWhatBoardsHaveGetsFewNewSeries: on a PC or in a container
// what is new is pressure, the state of its links and what it is.
func TestAMachineWithoutWhatBoardsHaveGetsFewNewSeries(t *testing.T) {
	roots := rootsOf(t, map[string]string{
		"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n", "sys/class/net/eth0/operstate": "up", "proc/sys/kernel/osrelease": "6.12.0",
		"proc/net/snmp": "Udp: InDatagrams\nUdp: 5\n", "sys/fs/cgroup/cgroup.controllers": "cpu", "sys/fs/cgroup/memory/x": "", "sys/class/thermal/thermal_zone0/temp": "40000",
		"sys/class/hwmon/hwmon0/name": "coretemp", "sys/class/hwmon/hwmon0/temp1_input": "40000", "sys/devices/system/cpu/cpu0/online": "1", "sys/class/power_supply/AC/online": "1",
	})
	var told []string
	for _, c := range mustAll(t, roots) {
		if sources[c.Name] != "" {
			continue
		}
		samples, err := c.Collect(time.Now())
		if Failed(err) > 0 {
			t.Errorf("%s: a warning in the log: %v", c.Name, err)
		}
		if len(samples) > 0 {
			told = append(told, c.Name)
		}
		if !c.Optional {
			t.Errorf("%s would be told of where it has nothing to read", c.Name)
		}
	}
	if d := cmp.Diff([]string{"network.health", "system.pressure", "board.info"}, told); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
