package collect

import (
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	maxMilli = 1_000_000     // 1000 V or A
	maxMicro = 1_000_000_000 // the same
	maxRPM   = 100_000
)

var (
	voltSensor = regexp.MustCompile(`^(in\d+)_input$`)
	ampSensor  = regexp.MustCompile(`^(curr\d+)_input$`)
	fanSensor  = regexp.MustCompile(`^(fan\d+)_input$`)
	pwmSensor  = regexp.MustCompile(`^(pwm\d+)$`)
)

// powerCollector reads the board's power supplies and its fan.
type powerCollector struct {
	hwmon, supplies string
	sensors         choice
}

func newPower(roots hostfs.Roots) *powerCollector {
	return &powerCollector{
		hwmon: roots.SysPath("class", "hwmon"), supplies: roots.SysPath("class", "power_supply"),
		sensors: choice{most: maxOfKind},
	}
}

// sensor is one value that can be read: a file, and the meaning of its number.
type sensor struct {
	metric    string
	tags      string
	path      string
	low, high int64
	scale     func(int64) float64
}

// Collect returns power.volts and power.amperes of every sensor that has them,
// fan.pwm_percent and fan.rpm of every fan.
func (c *powerCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	found := map[string]sensor{}
	chips := map[string]bool{}
	for _, chip := range hwmonChips(&r, c.hwmon) {
		chips[chip.driver] = true
		chipSensors(chip, found)
	}
	for _, supply := range r.list(c.supplies) {
		// The kernel shows most supplies as chips too, with _ for what a chip's
		// name must not have.
		if chip := strings.NewReplacer("-", "_", " ", "_", "*", "_").Replace(supply); !chips[chip] {
			if chip, ok := r.tag(c.supplies, chip); ok {
				supplySensors(filepath.Join(c.supplies, supply), chip, found)
			}
		}
	}
	for _, key := range c.sensors.of(slices.Collect(maps.Keys(found))) {
		s := found[key]
		if v, ok := r.number(s.low, s.high, s.path); ok {
			r.add(s.metric, s.tags, s.scale(v))
		}
	}
	r.dropped("board.power", &c.sensors)
	return r.done()
}

// chipSensors adds the sensors of a chip: millivolts, milliamperes, turns a
// minute, and the fan's power from 0 to 255.
func chipSensors(chip hwmonChip, found map[string]sensor) {
	milli := func(v int64) float64 { return float64(v) / 1000 }
	for _, of := range []struct {
		pattern   *regexp.Regexp
		suffix    string
		metric    string
		low, high int64
		scale     func(int64) float64
	}{
		{voltSensor, "_input", "power.volts", -maxMilli, maxMilli, milli},
		{ampSensor, "_input", "power.amperes", -maxMilli, maxMilli, milli},
		{fanSensor, "_input", "fan.rpm", 0, maxRPM, func(v int64) float64 { return float64(v) }},
		{pwmSensor, "", "fan.pwm_percent", 0, 255, func(v int64) float64 { return math.Round(float64(v)/255*100_000) / 1000 }},
	} {
		for _, s := range chip.sensors(of.pattern) {
			tags := sensorTags(chip.name, s)
			found[of.metric+tags] = sensor{of.metric, tags, filepath.Join(chip.dir, s+of.suffix), of.low, of.high, of.scale}
		}
	}
}

// supplySensors adds those of a power supply, in microvolts and microamperes.
// Source: Documentation/ABI/testing/sysfs-class-power.
func supplySensors(dir, chip string, found map[string]sensor) {
	micro := func(v int64) float64 { return float64(v) / 1e6 }
	for _, of := range []struct{ file, sensor, metric string }{
		{"voltage_now", "in0", "power.volts"}, {"current_now", "curr1", "power.amperes"},
	} {
		tags := sensorTags(chip, of.sensor)
		if _, twice := found[of.metric+tags]; twice {
			continue
		}
		if names, err := entries(dir); err == nil && slices.Contains(names, of.file) {
			found[of.metric+tags] = sensor{of.metric, tags, filepath.Join(dir, of.file), -maxMicro, maxMicro, micro}
		}
	}
}
