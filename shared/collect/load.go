package collect

import (
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// loadCollector reads the load averages.
type loadCollector struct{ path string }

func newLoad(roots hostfs.Roots) *loadCollector {
	return &loadCollector{path: roots.ProcPath("loadavg")}
}

// Collect returns system.load1, .load5 and .load15.
func (c *loadCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	load, err := parseLoad(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.path, err)
	}
	r := newReading(now)
	r.add("system.load1", "", load[0])
	r.add("system.load5", "", load[1])
	r.add("system.load15", "", load[2])
	return r.done()
}

// parseLoad reads /proc/loadavg: three load averages (1, 5, 15 minutes; tasks
// runnable or uninterruptible), then fields that are not used. It fails on fewer
// than three fields and on one that is not a number.
// Source: proc_loadavg(5).
func parseLoad(data []byte) ([3]float64, error) {
	var load [3]float64
	var buf [3][]byte
	for line := range lines(data) {
		fields := split(line, buf[:])
		if len(fields) < len(load) {
			return load, fmt.Errorf("line %s: %d fields, want 3; no load this round", quote(line), len(fields))
		}
		for i := range load {
			v, err := decimal(fields[i])
			if err != nil {
				return load, fmt.Errorf("line %s: %w; no load this round", quote(line), err)
			}
			load[i] = v
		}
		return load, nil
	}
	return load, errors.New("empty; no load this round")
}
