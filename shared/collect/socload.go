package collect

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	maxKilohertz  = 100_000_000 // 100 GHz
	maxHertz      = 1000 * maxKilohertz
	maxStates     = 10_000 // of a cooling device; fans of PCs have 255
	maxCodecCores = 64     // of the codecs; an RK3588 has 14
)

// socCollector reads clocks, loads and throttling of the chip.
type socCollector struct {
	cpus, devfreq, cooling, codecs string
	groups, devices, coolers       choice

	limits seldom
	full   bool // the limits are reported in this round
}

func newSoC(roots hostfs.Roots) *socCollector {
	c := &socCollector{
		cpus:    roots.SysPath("devices", "system", "cpu"),
		devfreq: roots.SysPath("class", "devfreq"),
		cooling: roots.SysPath("class", "thermal"),
		codecs:  roots.ProcPath("mpp_service", "load"),
	}
	for _, bounded := range []*choice{&c.groups, &c.devices, &c.coolers} {
		bounded.most = maxOfKind
	}
	return c
}

// Collect returns, of what the machine has, the clock of each group of
// processors with its highest and the highest allowed now; clock, highest clock
// and load of the other units (GPU, NPU, memory); the load of the codec cores;
// and the state of each cooling device. Limits are reported in each tenth round.
func (c *socCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	c.full = c.limits.due()
	c.clocks(&r)
	c.units(&r)
	c.cores(&r)
	c.coolingDevices(&r)
	r.dropped("soc.load", &c.groups, &c.devices, &c.coolers)
	return r.done()
}

// clocks reads cpufreq. Processors with one clock are one group, called after
// the first of them.
// Source: Documentation/admin-guide/pm/cpufreq.rst.
func (c *socCollector) clocks(r *reading) {
	dirs := c.policies(r)
	names := make([]string, 0, len(dirs))
	for unit := range dirs {
		names = append(names, unit)
	}
	for _, unit := range c.groups.of(names) {
		tags := metric.Tags("unit", unit)
		for _, of := range []struct{ file, name string }{
			{"scaling_cur_freq", "soc.frequency_hz"},
			{"cpuinfo_max_freq", "soc.frequency_limit_hz"},
			{"scaling_max_freq", "soc.frequency_allowed_hz"},
		} {
			if of.file == "cpuinfo_max_freq" && !c.full {
				continue
			}
			path := filepath.Join(dirs[unit], of.file)
			value, err := hostfs.ReadValue(path)
			if absent(err) || errors.Is(err, syscall.EBUSY) || value == "<unknown>" {
				continue // EBUSY: every processor of the group is offline
			}
			if err != nil {
				r.fault(err)
				continue
			}
			v, err := whole([]byte(value))
			if err == nil && (v == 0 || v > maxKilohertz) {
				err = fmt.Errorf("%d kHz is not a plausible clock", v)
			}
			if err != nil {
				r.addf("read %s: %w; value skipped", path, err)
				continue
			}
			r.add(of.name, tags, 1000*float64(v))
		}
	}
}

// policies returns the directory of each group: those of cpufreq itself, or,
// on kernels before 4.3 and where they are hidden, those of the processors.
func (c *socCollector) policies(r *reading) map[string]string {
	dirs := map[string]string{}
	for _, n := range r.list(c.cpus, "cpufreq") {
		if digits, ok := strings.CutPrefix(n, "policy"); ok && number(digits) {
			dirs["cpu"+digits] = filepath.Join(c.cpus, "cpufreq", n)
		}
	}
	if len(dirs) > 0 {
		return dirs
	}
	for _, n := range r.list(c.cpus) {
		if digits, ok := strings.CutPrefix(n, "cpu"); !ok || !number(digits) {
			continue
		}
		dir := filepath.Join(c.cpus, n, "cpufreq")
		if names, err := entries(dir); err != nil || len(names) == 0 {
			r.fault(err)
			continue
		}
		unit := n
		if together, ok := r.text(dir, "related_cpus"); ok {
			if first, _, _ := strings.Cut(together, " "); number(first) {
				unit = "cpu" + first
			}
		}
		if dirs[unit] == "" {
			dirs[unit] = dir
		}
	}
	return dirs
}

// number says whether s is a number as the kernel writes one in a name.
func number(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// units reads devfreq. The kernels of Rockchip have the load beside the clock;
// mainline has none, and there is no such series then.
// Source: Documentation/ABI/testing/sysfs-class-devfreq; load_show in
// drivers/devfreq/devfreq.c of Rockchip's kernels.
func (c *socCollector) units(r *reading) {
	for _, device := range c.devices.of(r.list(c.devfreq)) {
		dir := filepath.Join(c.devfreq, device)
		unit, ok := r.tag(dir, device)
		if !ok {
			continue
		}
		tags := metric.Tags("unit", unit)
		for _, of := range []struct{ file, name string }{{"cur_freq", "soc.frequency_hz"}, {"max_freq", "soc.frequency_limit_hz"}} {
			if of.file == "max_freq" && !c.full {
				continue
			}
			if hz, ok := r.number(0, maxHertz, dir, of.file); ok {
				r.add(of.name, tags, float64(hz))
			}
		}
		load, err := hostfs.ReadValue(filepath.Join(dir, "load"))
		if absent(err) || errors.Is(err, hostfs.ErrEmpty) {
			continue
		}
		percent := 0.0
		if err == nil {
			percent, err = parseDevfreqLoad([]byte(load))
		}
		if err != nil {
			r.addf("read the load of %s: %w; value skipped", dir, err)
			continue
		}
		r.add("soc.load_percent", tags, percent)
	}
}

// parseDevfreqLoad reads N@HzHz, or a bare number: percent of the time since
// the last reading of the governor.
func parseDevfreqLoad(value []byte) (float64, error) {
	percent, clock, both := bytes.Cut(value, []byte("@"))
	if both {
		hz, ok := bytes.CutSuffix(clock, []byte("Hz"))
		if _, err := whole(hz); !ok || err != nil {
			return 0, fmt.Errorf("%s is not a load with a clock", quote(value))
		}
	}
	v, err := decimal(percent)
	if err != nil {
		return 0, err
	}
	if v > 100 {
		return 0, fmt.Errorf("%s is more than 100 percent", quote(value))
	}
	return v, nil
}

// coolingDevices reads how far each cooling device is turned up: a fan, or the
// clock of a unit that is being throttled.
// Source: Documentation/driver-api/thermal/sysfs-api.rst.
func (c *socCollector) coolingDevices(r *reading) {
	var found []string
	for _, n := range r.list(c.cooling) {
		if digits, ok := strings.CutPrefix(n, "cooling_device"); ok && number(digits) {
			found = append(found, n)
		}
	}
	for _, n := range c.coolers.of(found) {
		dir := filepath.Join(c.cooling, n)
		kind, ok := r.text(dir, "type")
		if !ok {
			kind = n
		}
		if kind, ok = r.tag(dir, kind); !ok {
			continue
		}
		tags := metric.Tags("index", strings.TrimPrefix(n, "cooling_device"), "device", kind)
		state, ok := r.number(0, maxStates, dir, "cur_state")
		if ok {
			r.add("soc.cooling_state", tags, float64(state))
		}
		if !c.full {
			continue
		}
		if most, ok := r.number(0, maxStates, dir, "max_state"); ok {
			r.add("soc.cooling_max", tags, float64(most))
		}
	}
}
