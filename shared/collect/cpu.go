package collect

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// maxCores bounds the cores of one reading; the boards have eight.
const maxCores = 1024

// cpuCollector reports what share of the time since the last reading the cores
// were not idle.
type cpuCollector struct {
	path string
	last *cpuStat // nil before the first reading
}

func newCPU(roots hostfs.Roots) *cpuCollector {
	return &cpuCollector{path: roots.ProcPath("stat")}
}

// Collect returns cpu.usage_percent for core="all" and for each core, and
// cpu.iowait_percent and cpu.steal_percent for core="all". The first reading
// gives ErrNoData; so does one in which no time has passed.
//
// All cores together are the sum over the cores present in both readings: the
// kernel's own sum, the line cpu, jumps by a core's whole history when that core
// is unplugged. That line serves where there are no lines of single cores.
func (c *cpuCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	stat, err := parseStat(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.path, err))
	}
	if stat.empty() {
		return r.done()
	}
	last := c.last
	c.last = &stat
	if last == nil {
		r.fault(ErrNoData)
		return r.done()
	}
	all := c.cores(&r, last, &stat)
	if stat.coreLines == 0 && last.coreLines == 0 && stat.all != nil && last.all != nil {
		if all, err = since(*last.all, *stat.all); err != nil {
			r.addf("read %s: cpu %w", c.path, err)
		}
	}
	c.sums(&r, all)
	return r.done()
}

// cores adds the usage of each core that is in both readings, and returns the
// time of all of them.
func (c *cpuCollector) cores(r *reading, last, stat *cpuStat) (all cpuDelta) {
	for _, core := range slices.Sorted(maps.Keys(stat.cores)) {
		before, ok := last.cores[core]
		if !ok {
			continue // a first reading
		}
		label := strconv.Itoa(core)
		d, err := since(before, stat.cores[core])
		if err != nil {
			r.addf("read %s: cpu%s %w", c.path, label, err)
			continue
		}
		all.add(d)
		if v, ok := metric.Percent(d.busy(), d.total); ok {
			r.add("cpu.usage_percent", metric.Tags("core", label), v)
		}
	}
	return all
}

// sums adds the shares of all cores together; the usage comes first.
func (c *cpuCollector) sums(r *reading, all cpuDelta) {
	tags := metric.Tags("core", "all")
	cores := r.samples
	r.samples = nil
	if v, ok := metric.Percent(all.busy(), all.total); ok {
		r.add("cpu.usage_percent", tags, v)
	}
	r.samples = append(r.samples, cores...)
	if v, ok := metric.Percent(all.iowait, all.total); ok {
		r.add("cpu.iowait_percent", tags, v)
	}
	if v, ok := metric.Percent(all.steal, all.total); ok && !all.noSteal {
		r.add("cpu.steal_percent", tags, v)
	}
}

// cpuDelta is what passed between two readings, in ticks.
type cpuDelta struct {
	total, idle, iowait, steal float64 // idle holds iowait too
	noSteal                    bool
}

func (d *cpuDelta) busy() float64 { return d.total - d.idle }

func (d *cpuDelta) add(o cpuDelta) {
	d.total += o.total
	d.idle += o.idle
	d.iowait += o.iowait
	d.steal += o.steal
	d.noSteal = d.noSteal || o.noSteal
}

// since returns the time between two readings of one line. A single field may go
// back a little, iowait above all (Documentation/filesystems/proc.rst): it counts
// as 0. A line whose sum went back was reset, and has no difference.
func since(before, after cpuTimes) (cpuDelta, error) {
	var sumBefore, sumAfter uint64
	var delta [cpuFields]float64
	d := cpuDelta{noSteal: before.noSteal || after.noSteal}
	for i := range delta {
		sumBefore += before.ticks[i]
		sumAfter += after.ticks[i]
		if after.ticks[i] > before.ticks[i] {
			delta[i] = float64(after.ticks[i] - before.ticks[i])
		}
		d.total += delta[i]
	}
	if sumAfter < sumBefore {
		return cpuDelta{}, fmt.Errorf("went back from %d ticks to %d; skipped in this round, and counted from the new value", sumBefore, sumAfter)
	}
	d.idle = delta[idle] + delta[iowait]
	d.iowait = delta[iowait]
	d.steal = delta[steal]
	return d, nil
}
