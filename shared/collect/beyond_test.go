package collect

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
)

func TestInputsAndUnitsBeyondTheLimitAreCounted(t *testing.T) {
	list := func(form string, n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf(form, i))
		}
		return all
	}
	f := &fakeDevice{caps: 2, power: 1, timings: picture(1920, 1080, 60)}
	hdmi := newHDMI(rootsOf(t, nil), config.MetricConfig{Devices: list("/dev/video%d", maxInputs+2)})
	hdmi.open = func(string) (videoDevice, error) { return f, nil }
	units := newUnits(rootsOf(t, nil), config.MetricConfig{Units: list("u%d.service", maxUnits+3)})
	units.address = "unix:path=" + filepath.Join(t.TempDir(), "none")
	for _, of := range []struct {
		c    Collector
		name string
		left float64
		most int
	}{{hdmi, "hdmi.input", 2, maxInputs}, {units, "unit.usage", 3, 0}} {
		for round := range 2 {
			samples, err := of.c.Collect(time.UnixMilli(int64(round) * 30_000))
			got, inputs := valuesOf(samples)["collector.devices_dropped_total"+metric.Tags("collector", of.name)], 0
			for _, s := range samples {
				if s.Name == "hdmi.signal" {
					inputs++
				}
			}
			if err != nil || got != of.left*float64(round+1) || inputs != of.most {
				t.Errorf("%s, round %d: %v left out, %d inputs, %v", of.name, round, got, inputs, err)
			}
		}
	}
}
