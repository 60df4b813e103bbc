package collect

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/bits"
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

// The fields of a CPU line. guest and guest_nice come after them and are already
// part of user and nice.
const (
	user = iota
	nice
	system
	idle
	iowait
	irq
	softirq
	steal
	cpuFields
)

// cpuTimes is one CPU line, in ticks of USER_HZ since boot.
type cpuTimes struct {
	ticks   [cpuFields]uint64 // their sum fits 64 bits
	noSteal bool              // a kernel before 2.6.11
}

// cpuStat is one reading of /proc/stat.
type cpuStat struct {
	all       *cpuTimes // the line cpu
	cores     map[int]cpuTimes
	coreLines int // lines of single cores, bad ones included
}

func (s cpuStat) empty() bool { return s.all == nil && len(s.cores) == 0 }

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
		return cpuDelta{}, fmt.Errorf("went back from %d ticks to %d; it is left out of this round and counts from there", sumBefore, sumAfter)
	}
	d.idle = delta[idle] + delta[iowait]
	d.iowait = delta[iowait]
	d.steal = delta[steal]
	return d, nil
}

// parseStat reads the CPU lines of /proc/stat: "cpu" for all cores, "cpuN" for
// each that is online, then at least seven counts: user, nice, system, idle,
// iowait, irq, softirq, and since 2.6.11 steal. Numbers may have gaps. A line
// that is too short, garbled or comes twice is an error for that line only; a
// file without any CPU line is one too.
// Source: proc_stat(5), Documentation/filesystems/proc.rst.
func parseStat(data []byte) (cpuStat, error) {
	s := cpuStat{cores: map[int]cpuTimes{}}
	var f faults
	var buf [1 + cpuFields][]byte
	found := false
	for line := range lines(data) {
		rest, ok := bytes.CutPrefix(line, []byte("cpu"))
		if !ok {
			continue
		}
		found = true
		fields := split(line, buf[:])
		core, err := coreNumber(fields[0][len("cpu"):])
		if len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t' {
			s.coreLines++
		}
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		t, err := parseTimes(fields)
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		_, twice := s.cores[core]
		switch {
		case core < 0 && s.all == nil:
			s.all = &t
		case twice || core < 0:
			f.addf("line %s: comes twice; the first counts", quote(line))
		case len(s.cores) >= maxCores:
			f.addf("line %s: more than %d cores; line skipped", quote(line), maxCores)
		default:
			s.cores[core] = t
		}
	}
	if !found {
		f.addf("no line of a CPU; no usage this round")
	}
	return s, f.err()
}

// coreNumber reads what follows "cpu": nothing gives -1, digits their number.
func coreNumber(digits []byte) (int, error) {
	if len(digits) == 0 {
		return -1, nil
	}
	n, err := strconv.ParseUint(string(digits[:min(len(digits), 8)]), 10, 31)
	if err != nil || len(digits) > 7 {
		return 0, fmt.Errorf("%s is not the number of a core", quote(digits))
	}
	return int(n), nil
}

func parseTimes(fields [][]byte) (cpuTimes, error) {
	var t cpuTimes
	counts := min(len(fields)-1, cpuFields)
	if counts < steal {
		return t, fmt.Errorf("%d counts, want at least %d", counts, steal)
	}
	t.noSteal = counts == steal
	if err := wholes(fields[1:], 2, t.ticks[:counts]); err != nil {
		return t, err
	}
	var sum, carry uint64
	for _, v := range t.ticks {
		if sum, carry = bits.Add64(sum, v, 0); carry != 0 {
			return t, errors.New("counts add up to more than 64 bits")
		}
	}
	return t, nil
}
