package collect

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// maxZones bounds the zones of one round; the boards have seven.
	maxZones = 64
	// The plausible range of a board's sensor, in millidegrees. The kernel reports
	// -274000 for a zone that has not been read yet (THERMAL_TEMP_INVALID).
	minMillidegrees = -60_000
	maxMillidegrees = 250_000
	// maxDegrees is the highest reading that is taken for whole degrees, as
	// Allwinner's kernels of the 3.4 line give them: a board at 0.2 degrees is
	// rarer than such a kernel.
	maxDegrees = 200
)

// thermalCollector reads the thermal zones.
type thermalCollector struct {
	dir     string
	exclude config.Names
}

func newThermal(roots hostfs.Roots, cfg config.MetricConfig, key string) (*thermalCollector, error) {
	exclude, err := config.NewNames(key+".exclude_zones", cfg.ExcludeZones)
	if err != nil {
		return nil, err
	}
	return &thermalCollector{dir: roots.SysPath("class", "thermal"), exclude: exclude}, nil
}

// Collect returns cpu.temperature, the hottest zone that could be read, and
// thermal.zone_temp for each of these, without the excluded zones. A zone that cannot be
// read or has an implausible value is an error for that zone only. A machine without
// zones gives ErrNoData.
// Source: Documentation/driver-api/thermal/sysfs-api.rst.
func (c *thermalCollector) Collect(now time.Time) ([]metric.Sample, error) {
	zones, err := c.zones()
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	if len(zones) > maxZones {
		r.addf("read %s: %d zones; those from %d on are skipped", c.dir, len(zones), maxZones)
		zones = zones[:maxZones]
	}
	hottest := 0.0
	var single []metric.Sample
	for _, index := range zones {
		zone, celsius, err := c.zone(index)
		if errors.Is(err, errLeftOut) {
			continue
		}
		if err != nil {
			r.fault(err)
			continue
		}
		if len(single) == 0 || celsius > hottest {
			hottest = celsius
		}
		single = append(single, metric.Sample{
			Name: "thermal.zone_temp", Tags: metric.Tags("zone", zone, "index", strconv.Itoa(index)),
			TimeMs: r.timeMs, Value: metric.Round(celsius),
		})
	}
	if len(single) > 0 {
		r.add("cpu.temperature", "", hottest)
		r.samples = append(r.samples, single...)
	}
	return r.done()
}

// zones returns the numbers of the zones, in order. They are links to
// directories on a real system.
func (c *thermalCollector) zones() ([]int, error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoData
	}
	if err != nil {
		return nil, err
	}
	var zones []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), "thermal_zone")
		if !ok {
			continue // a cooling device
		}
		if n, err := strconv.ParseUint(digits, 10, 31); err == nil && strconv.FormatUint(n, 10) == digits {
			zones = append(zones, int(n))
		}
	}
	slices.SortFunc(zones, cmp.Compare)
	return zones, nil
}

// errLeftOut says that a zone is one of exclude_zones.
var errLeftOut = errors.New("left out")

// zone reads one zone: its type, or its directory's name where it has none, and
// its temperature. The sensor of an excluded zone is not read.
func (c *thermalCollector) zone(index int) (zone string, celsius float64, err error) {
	dirName := "thermal_zone" + strconv.Itoa(index)
	dir := filepath.Join(c.dir, dirName)
	if c.exclude.Match([]byte(dirName)) {
		return "", 0, errLeftOut
	}
	zone, err = hostfs.ReadValue(filepath.Join(dir, "type"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		zone = dirName
	case err == nil && c.exclude.Match([]byte(zone)):
		return "", 0, errLeftOut
	case err == nil:
		zone, err = name([]byte(zone))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", 0, fmt.Errorf("read the type of %s: %w; zone skipped", dir, err)
	}
	value, err := hostfs.ReadValue(filepath.Join(dir, "temp"))
	if err != nil {
		return "", 0, fmt.Errorf("%w; zone skipped", err)
	}
	celsius, err = parseMillidegrees(value)
	if err != nil {
		return "", 0, fmt.Errorf("read %s/temp: %w; zone skipped", dir, err)
	}
	return zone, celsius, nil
}

// parseMillidegrees reads a whole number of millidegrees Celsius and returns
// degrees; 1 to 200 are degrees already. It fails on other text and on
// implausible values, below -60 or above 250 degrees.
func parseMillidegrees(value string) (float64, error) {
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number of millidegrees", quote([]byte(value)))
	}
	if v < minMillidegrees || v > maxMillidegrees {
		return 0, fmt.Errorf("%d millidegrees is not a plausible temperature", v)
	}
	if v >= 1 && v <= maxDegrees {
		return float64(v), nil
	}
	return float64(v) / 1000, nil
}
