package collect

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// pressureCollector reads how long tasks waited for processors, disks, memory.
type pressureCollector struct{ roots hostfs.Roots }

func newPressure(roots hostfs.Roots) *pressureCollector { return &pressureCollector{roots} }

// Collect returns pressure.waiting_seconds_total, the time in which some task
// waited, and pressure.stalled_seconds_total, the time in which all did. A
// kernel without PSI, or with psi=0, has neither.
func (c *pressureCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	for _, resource := range []string{"cpu", "io", "memory"} {
		path := c.roots.ProcPath("pressure", resource)
		data, err := hostfs.ReadFile(path)
		if absent(err) {
			continue
		}
		if err != nil {
			r.fault(err)
			continue
		}
		p, err := parsePressure(data)
		if err != nil {
			r.fault(fmt.Errorf("read %s: %w", path, err))
		}
		tags := metric.Tags("resource", resource)
		if p.some != nil {
			r.add("pressure.waiting_seconds_total", tags, float64(*p.some)/1e6)
		}
		if p.full != nil {
			r.add("pressure.stalled_seconds_total", tags, float64(*p.full)/1e6)
		}
	}
	return r.done()
}

// pressure is one file of /proc/pressure, in microseconds; nil: no such line.
type pressure struct{ some, full *uint64 }

// parsePressure reads the totals of the lines some and full. A line that is
// garbled is an error for that line only; kernels before 5.13 have no full for
// the processors; other lines are ignored.
// Source: Documentation/accounting/psi.rst.
func parsePressure(data []byte) (pressure, error) {
	var p pressure
	var f faults
	empty := true
	for line := range lines(data) {
		kind, rest, _ := bytes.Cut(line, []byte(" "))
		var into **uint64
		switch string(kind) {
		case "some":
			into = &p.some
		case "full":
			into = &p.full
		default:
			continue
		}
		empty = false
		_, digits, ok := bytes.Cut(rest, []byte("total="))
		digits, _, _ = bytes.Cut(digits, []byte(" "))
		v, err := whole(digits)
		switch {
		case !ok:
			err = errors.New("no total")
		case err == nil && *into != nil:
			err = errors.New("appears twice; the first one is used")
		}
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		*into = &v
	}
	if empty {
		f.addf("no line some or full")
	}
	return p, f.err()
}
