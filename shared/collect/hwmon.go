package collect

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/taniwha3/thugshells/shared/metric"
)

// hwmonChip is one chip with sensors.
type hwmonChip struct {
	dir    string
	driver string   // the chip's own name
	name   string   // the driver; with the device if several chips have the same driver
	device string   // the device that the chip belongs to, "" if it is not known
	files  []string // in dir
}

// hwmonChips finds the chips below /sys/class/hwmon. Their numbers follow the order of
// probing and change from boot to boot, so a chip is named after its number only if it
// has no other name.
// Source: Documentation/hwmon/sysfs-interface.rst.
func hwmonChips(r *reading, dir string) []hwmonChip {
	var chips []hwmonChip
	called := map[string]int{}
	for _, n := range r.list(dir) {
		chip := hwmonChip{dir: filepath.Join(dir, n)}
		driver, ok := r.text(chip.dir, "name")
		if !ok {
			continue
		}
		if chip.driver, ok = r.tag(chip.dir, driver); !ok {
			continue
		}
		chip.name = chip.driver
		if target, err := os.Readlink(filepath.Join(chip.dir, "device")); err == nil {
			if device, err := name([]byte(filepath.Base(target))); err == nil {
				chip.device = device
			}
		}
		chip.files = r.list(chip.dir)
		called[chip.driver]++
		chips = append(chips, chip)
	}
	for i, c := range chips {
		if called[c.driver] < 2 {
			continue
		}
		if c.device != "" {
			chips[i].name += " " + c.device
		} else {
			chips[i].name += " " + filepath.Base(c.dir)
		}
	}
	return chips
}

// sensors returns the files of a chip that the pattern matches, without the
// suffix _input: in0, curr1, temp2.
func (c hwmonChip) sensors(pattern *regexp.Regexp) []string {
	var found []string
	for _, f := range c.files {
		if m := pattern.FindStringSubmatch(f); m != nil {
			found = append(found, m[1])
		}
	}
	slices.Sort(found)
	return found
}

// scaled adds the number in a file, divided, under the given name.
func (r *reading) scaled(name, tags string, low, high int64, divisor float64, elem ...string) {
	if v, ok := r.number(low, high, elem...); ok {
		r.add(name, tags, float64(v)/divisor)
	}
}

// sensorTags is the tag of a sensor of a chip.
func sensorTags(chip, sensor string) string { return metric.Tags("sensor", chip+"/"+sensor) }
