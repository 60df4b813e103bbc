package collect

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

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
			f.addf("line %s: appears twice; the first one is used", quote(line))
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
