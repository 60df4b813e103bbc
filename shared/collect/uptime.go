package collect

import (
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// uptimeCollector reads the time since boot.
type uptimeCollector struct{ path string }

func newUptime(roots hostfs.Roots) *uptimeCollector {
	return &uptimeCollector{path: roots.ProcPath("uptime")}
}

// Collect returns system.uptime_seconds.
func (c *uptimeCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	seconds, err := parseUptime(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.path, err)
	}
	r := newReading(now)
	r.add("system.uptime_seconds", "", seconds)
	return r.done()
}

// parseUptime reads /proc/uptime: seconds since boot, suspend included, then
// the idle time of all cores, which is not used. It fails when the first field
// is missing or not a number.
// Source: proc_uptime(5).
func parseUptime(data []byte) (float64, error) {
	var buf [1][]byte
	for line := range lines(data) {
		seconds, err := decimal(split(line, buf[:])[0])
		if err != nil {
			return 0, fmt.Errorf("line %s: %w; no uptime this round", quote(line), err)
		}
		return seconds, nil
	}
	return 0, errors.New("empty; no uptime this round")
}
