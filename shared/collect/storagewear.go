package collect

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

var tempSensor = regexp.MustCompile(`^(temp\d+)_input$`)

// wearCollector reads the wear and the temperatures of storage devices.
type wearCollector struct {
	cards, hwmon  string
	disks, blocks choice
}

func newWear(roots hostfs.Roots) *wearCollector {
	return &wearCollector{
		cards: roots.SysPath("bus", "mmc", "devices"), hwmon: roots.SysPath("class", "hwmon"),
		disks: choice{most: maxOfKind}, blocks: choice{most: maxOfKind},
	}
}

// Collect returns the wear that each eMMC reports (SD cards do not), and the temperatures
// of disks.
func (c *wearCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	for _, card := range c.blocks.of(r.list(c.cards)) {
		c.card(&r, filepath.Join(c.cards, card))
	}
	c.temperatures(&r)
	r.dropped("storage.wear", &c.blocks, &c.disks)
	return r.done()
}

// card reads the wear of one eMMC, as it was when the kernel found the card.
// Source: JESD84-B51, 7.4.27 and 7.4.43: DEVICE_LIFE_TIME_EST_TYP_A and _B in
// tenths of the life, 0x0b for one that is exceeded; PRE_EOL_INFO 1 normal, 2
// warning (80 percent of the spare blocks are used), 3 urgent. 0 is not defined.
func (c *wearCollector) card(r *reading, dir string) {
	life, hasLife := r.text(dir, "life_time")
	eol, hasEOL := r.text(dir, "pre_eol_info")
	if !hasLife && !hasEOL {
		return
	}
	device := filepath.Base(dir)
	if blocks := r.list(dir, "block"); len(blocks) > 0 {
		device = blocks[0] // mmcblk0 comes before mmcblk0boot0
	}
	device, ok := r.tag(dir, device)
	if !ok {
		return
	}
	if hasLife {
		used, err := parseLifeTime(life)
		if err != nil {
			r.fault(fmt.Errorf("read %s/life_time: %w", dir, err))
		}
		for i, kind := range []string{"a", "b"} {
			if used[i] > 0 {
				r.add("storage.life_used_percent", metric.Tags("device", device, "type", kind), float64(10*used[i]))
			}
		}
	}
	if hasEOL {
		level, err := hexByte(eol, 3)
		if err != nil {
			r.addf("read %s/pre_eol_info: %w; value skipped", dir, err)
		} else if level > 0 {
			r.add("storage.pre_eol", metric.Tags("device", device), float64(level))
		}
	}
}

// parseLifeTime reads two bytes such as 0x02 0x01: tenths of the life of the
// two types of memory that are used up. 0 is not defined. Any other byte
// is an error for that type only.
func parseLifeTime(value string) (used [2]uint64, err error) {
	fields := strings.Fields(value)
	if len(fields) != len(used) {
		return used, fmt.Errorf("%s is not two bytes; values skipped", quote([]byte(value)))
	}
	var wrong []error
	for i, field := range fields {
		v, err := hexByte(field, 0x0b)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%w; value skipped", err))
			continue
		}
		used[i] = v
	}
	return used, errors.Join(wrong...)
}

// hexByte reads a byte such as 0x0b.
func hexByte(value string, most uint64) (uint64, error) {
	digits, ok := strings.CutPrefix(value, "0x")
	v, err := strconv.ParseUint(digits, 16, 8)
	if !ok || err != nil {
		return 0, fmt.Errorf("%s is not a byte such as 0x01", quote([]byte(value)))
	}
	if v > most {
		return 0, fmt.Errorf("%s is more than 0x%02x, and not defined", quote([]byte(value)), most)
	}
	return v, nil
}

// temperatures reads the sensors of disks: those of NVMe are in the kernel
// itself, those of SATA come with its module drivetemp.
func (c *wearCollector) temperatures(r *reading) {
	type place struct{ path, tags string }
	found := map[string]place{}
	var order []string
	for _, chip := range hwmonChips(r, c.hwmon) {
		if chip.driver != "nvme" && chip.driver != "drivetemp" {
			continue
		}
		device := chip.name
		if chip.device != "" {
			device = chip.device
		}
		for _, s := range chip.sensors(tempSensor) {
			label, ok := r.text(chip.dir, s+"_label")
			if !ok {
				label = s
			}
			if label, ok = r.tag(chip.dir, label); !ok {
				continue
			}
			tags := metric.Tags("device", device, "sensor", label)
			if _, twice := found[tags]; twice {
				tags = metric.Tags("device", device, "sensor", label+" "+s)
			}
			found[tags] = place{filepath.Join(chip.dir, s+"_input"), tags}
			order = append(order, tags)
		}
	}
	for _, tags := range c.disks.of(order) {
		r.scaled("storage.temperature_celsius", tags, minMillidegrees, maxMillidegrees, 1000, found[tags].path)
	}
}
