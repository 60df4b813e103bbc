package collect

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
	"github.com/taniwha3/thugshells/shared/metric"
)

// expectedBoard is expected.json beside the tree of a whole board. Missing is a
// value that must not be produced.
type expectedBoard struct {
	CPU     map[string]float64 `json:"cpu_hz"`
	CPUMax  map[string]float64 `json:"cpu_max_hz"`
	Cooling map[string]struct {
		State float64 `json:"state"`
		Max   float64 `json:"max"`
	} `json:"cooling"`
	Devfreq map[string]struct {
		Hz   float64  `json:"hz"`
		Load *float64 `json:"load_percent"`
	} `json:"devfreq"`
	Codecs map[string]struct {
		Load        float64 `json:"load_percent"`
		Utilization float64 `json:"utilization_percent"`
	} `json:"mpp"`
	Hwmon map[string]float64 `json:"hwmon"`
	MMC   map[string]struct {
		A   *float64 `json:"life_used_percent_a"`
		B   *float64 `json:"life_used_percent_b"`
		EOL *float64 `json:"pre_eol"`
	} `json:"mmc"`
	HDMI     *bool                         `json:"hdmirx_status"`
	UDP      map[string]float64            `json:"udp"`
	Softnet  map[string]float64            `json:"softnet"`
	Pressure map[string]map[string]float64 `json:"pressure_seconds"`
	Links    map[string]map[string]float64 `json:"links"`
	Units    map[string]map[string]float64 `json:"unit"`
}

// samples is what the collectors have to return, by collector.
func (e expectedBoard) samples() map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	put := func(collector, name string, value float64, pairs ...string) {
		if all[collector] == nil {
			all[collector] = map[string]float64{}
		}
		all[collector][name+metric.Tags(pairs...)] = value
	}
	for cpu, hz := range e.CPU {
		put("soc.load", "soc.frequency_hz", hz, "unit", "cpu"+cpu)
		put("soc.load", "soc.frequency_limit_hz", e.CPUMax[cpu], "unit", "cpu"+cpu)
	}
	for device, c := range e.Cooling {
		index, kind, _ := strings.Cut(device, "/")
		put("soc.load", "soc.cooling_state", c.State, "index", index, "device", kind)
		put("soc.load", "soc.cooling_max", c.Max, "index", index, "device", kind)
	}
	for unit, d := range e.Devfreq {
		put("soc.load", "soc.frequency_hz", d.Hz, "unit", unit)
		if d.Load != nil {
			put("soc.load", "soc.load_percent", *d.Load, "unit", unit)
		}
	}
	for core, c := range e.Codecs {
		put("soc.load", "soc.codec_load_percent", c.Load, "core", core)
		put("soc.load", "soc.codec_utilization_percent", c.Utilization, "core", core)
	}
	for sensor, v := range e.Hwmon {
		chip, of, _ := strings.Cut(sensor, "/")
		switch {
		case chip == "nvme":
			_, label, _ := strings.Cut(of, " ")
			put("storage.wear", "storage.temperature_celsius", v, "device", chip, "sensor", label)
		case strings.HasPrefix(of, "in"):
			put("board.power", "power.volts", v, "sensor", sensor)
		case strings.HasPrefix(of, "curr"):
			put("board.power", "power.amperes", v, "sensor", sensor)
		case strings.HasPrefix(of, "pwm"):
			put("board.power", "fan.pwm_percent", v, "sensor", strings.TrimSuffix(sensor, "_percent"))
		}
	}
	for device, m := range e.MMC {
		for kind, v := range map[string]*float64{"a": m.A, "b": m.B} {
			if v != nil {
				put("storage.wear", "storage.life_used_percent", *v, "device", device, "type", kind)
			}
		}
		if m.EOL != nil {
			put("storage.wear", "storage.pre_eol", *m.EOL, "device", device)
		}
	}
	if e.HDMI != nil && !*e.HDMI { // with a cable the device tells more, and there is none in a tree
		put("hdmi.input", "hdmi.signal", 0, "input", "hdmi")
		put("hdmi.input", "hdmi.changes_total", 0, "input", "hdmi")
	}
	for key, v := range e.UDP {
		name := map[string]string{"in": "in_datagrams", "out": "out_datagrams"}[key]
		if name == "" {
			name = key
		}
		put("network.health", "udp."+name+"_total", v)
	}
	for key, v := range e.Softnet {
		put("network.health", "softnet."+key+"_total", v)
	}
	for iface, link := range e.Links {
		for key, v := range link {
			name := map[string]string{"carrier_changes": "carrier_changes_total", "tx_dropped": "tx_dropped_total"}[key]
			if name == "" {
				name = key
			}
			put("network.health", "network."+name, v, "interface", iface)
		}
	}
	for resource, p := range e.Pressure {
		for key, name := range map[string]string{"some": "waiting", "full": "stalled"} {
			if v, ok := p[key]; ok {
				put("system.pressure", "pressure."+name+"_seconds_total", v, "resource", resource)
			}
		}
	}
	for unit, u := range e.Units {
		for key, name := range map[string]string{"cpu_seconds": "cpu_seconds_total", "memory_bytes": "memory_bytes", "oom_kills": "oom_kills_total", "tasks": "tasks"} {
			put("unit.usage", "unit."+name, u[key], "unit", unit)
		}
	}
	return all
}

// notExpected are the metrics that the files do not name.
func notExpected(name string) bool {
	return strings.HasPrefix(name, "soc.frequency_allowed_hz") || strings.HasPrefix(name, "network.rx_dropped_total")
}

func TestTreesOfBoardsGiveTheirExpectedValues(t *testing.T) {
	found := 0
	for _, dir := range capturedTrees(t) {
		data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), `"cpu_hz"`) {
			continue
		}
		found++
		t.Run(filepath.Base(filepath.Dir(dir))+"/"+filepath.Base(dir), func(t *testing.T) {
			var e expectedBoard
			if err := json.Unmarshal(data, &e); err != nil {
				t.Fatal(err)
			}
			want := e.samples()
			for _, c := range mustAll(t, hosttest.Roots(dir)) {
				if _, old := sources[c.Name]; old || c.Name == "board.info" {
					continue
				}
				got := samplesOf(t, c)
				for series := range got {
					devfreqLimit := strings.HasPrefix(series, "soc.frequency_limit_hz") && !strings.Contains(series, `"cpu`)
					if notExpected(series) || devfreqLimit {
						delete(got, series)
					}
				}
				if d := cmp.Diff(want[c.Name], got, cmpopts.EquateApprox(0, 0.0005), cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s: -want +got:\n%s", c.Name, d)
				}
			}
		})
	}
	if found == 0 {
		t.Error("no tree of a whole board")
	}
}

func rootsOf(t *testing.T, files map[string]string) hostfs.Roots {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		hosttest.Write(t, filepath.Join(dir, path), text)
	}
	return hosttest.Roots(dir)
}
