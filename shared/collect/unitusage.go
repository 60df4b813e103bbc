package collect

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/bus"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// maxUnits bounds the units of one round.
const maxUnits = 16

// unitCollector reads the resources that systemd units use.
type unitCollector struct {
	cgroup  string
	address string // of the bus; "": the system's
	units   []string
	beyond  int    // units of the configuration that are left out
	dropped uint64 // the same, summed over the rounds
}

func newUnits(roots hostfs.Roots, cfg config.MetricConfig) *unitCollector {
	units := cfg.Units[:min(len(cfg.Units), maxUnits)]
	return &unitCollector{cgroup: roots.SysPath("fs", "cgroup"), units: units, beyond: len(cfg.Units) - len(units)}
}

// Collect returns processor time, memory, tasks and kills for lack of memory of
// each unit that runs. A unit that does not run has no cgroup, and no series.
// Source: Documentation/admin-guide/cgroup-v2.rst.
func (c *unitCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	for _, unit := range c.units {
		dir := filepath.Join(c.cgroup, sliceOf(unit), unit)
		tags := metric.Tags("unit", unit)
		if usec, ok := r.keyed("usage_usec", dir, "cpu.stat"); ok {
			r.add("unit.cpu_seconds_total", tags, float64(usec)/1e6)
		}
		if kills, ok := r.keyed("oom_kill", dir, "memory.events"); ok {
			r.add("unit.oom_kills_total", tags, float64(kills))
		}
		r.counter("unit.memory_bytes", tags, dir, "memory.current")
		r.counter("unit.tasks", tags, dir, "pids.current")
	}
	if err := c.restarts(&r); err != nil && !errors.Is(err, bus.ErrAbsent) {
		r.fault(err)
	}
	c.dropped += uint64(c.beyond) //nolint:gosec // not negative
	r.leftOut("unit.usage", c.dropped)
	return r.done()
}

// restarts asks systemd, if its bus is there, how often it restarted each unit, and how
// many units failed on a machine that has one of the units.
// Source: org.freedesktop.systemd1(5).
func (c *unitCollector) restarts(r *reading) error {
	visit, err := bus.Connect(c.address)
	if err != nil {
		return err
	}
	defer visit.Close()
	const systemd = "org.freedesktop.systemd1"
	known := false
	for _, unit := range c.units {
		path := "/org/freedesktop/systemd1/unit/" + busLabel(unit)
		state, err := visit.Property(systemd, path, systemd+".Unit", "LoadState")
		if errors.Is(err, bus.ErrAbsent) {
			continue
		}
		if err != nil {
			return err
		}
		if state != "loaded" {
			continue
		}
		known = true
		value, err := visit.Property(systemd, path, systemd+".Service", "NRestarts")
		if errors.Is(err, bus.ErrAbsent) {
			continue // not a service, or a systemd before 235
		}
		if err != nil {
			return err
		}
		if n, ok := bus.Number(value); ok {
			r.add("unit.restarts_total", metric.Tags("unit", unit), n)
		}
	}
	if !known {
		return nil
	}
	value, err := visit.Property(systemd, "/org/freedesktop/systemd1", systemd+".Manager", "NFailedUnits")
	if n, ok := bus.Number(value); err == nil && ok {
		r.add("system.units_failed", "", n)
	}
	return err
}

// busLabel is a name as a part of a path on the bus: all but letters and digits
// becomes _ and two hexadecimal digits.
func busLabel(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// sliceOf is the directory of a unit's cgroup: the instances of a template have a slice
// of their own.
func sliceOf(unit string) string {
	template, _, instance := strings.Cut(unit, "@")
	if !instance {
		return "system.slice"
	}
	return filepath.Join("system.slice", "system-"+strings.ReplaceAll(template, "-", `\x2d`)+".slice")
}

// keyed reads one count of a file with a name and a count a line. The file may
// be absent; in a file that is there the name must be.
func (r *reading) keyed(key string, elem ...string) (uint64, bool) {
	path := filepath.Join(elem...)
	data, err := hostfs.ReadFile(path)
	if absent(err) {
		return 0, false
	}
	if err == nil {
		var v uint64
		if v, err = parseKeyed(data, key); err == nil {
			return v, true
		}
		err = fmt.Errorf("read %s: %w; value skipped", path, err)
	}
	r.fault(err)
	return 0, false
}

// parseKeyed finds the count of a key.
func parseKeyed(data []byte, key string) (uint64, error) {
	for line := range lines(data) {
		if name, count, ok := bytes.Cut(line, []byte(" ")); ok && string(name) == key {
			return whole(bytes.TrimSpace(count))
		}
	}
	return 0, errors.New("no line " + key)
}
