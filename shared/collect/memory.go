package collect

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// memoryCollector reads memory and swap.
type memoryCollector struct{ path string }

func newMemory(roots hostfs.Roots) *memoryCollector {
	return &memoryCollector{path: roots.ProcPath("meminfo")}
}

// Collect returns memory.total_bytes, .used_bytes, .available_bytes and
// .swap_total_bytes, .swap_used_bytes. Used is MemTotal minus MemAvailable. A
// kernel that does not estimate MemAvailable (before 3.14) gives neither: free
// and cached pages added up would be a different figure under the same name.
func (c *memoryCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	m, err := parseMeminfo(data)
	r := newReading(now)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.path, err))
	}
	total, okTotal := m["MemTotal"]
	available, okAvailable := m["MemAvailable"]
	if okTotal {
		r.add("memory.total_bytes", "", float64(total))
	}
	switch {
	case !okTotal || !okAvailable: // the parser has said so
	case available > total:
		r.addf("read %s: MemAvailable of %d bytes is more than MemTotal of %d; no used and available memory this round",
			c.path, available, total)
	default:
		r.add("memory.used_bytes", "", float64(total-available))
		r.add("memory.available_bytes", "", float64(available))
	}
	swap, okSwap := m["SwapTotal"]
	free, okFree := m["SwapFree"]
	if okSwap {
		r.add("memory.swap_total_bytes", "", float64(swap))
	}
	switch {
	case !okSwap || !okFree:
	case free > swap:
		r.addf("read %s: SwapFree of %d bytes is more than SwapTotal of %d; no used swap this round", c.path, free, swap)
	default:
		r.add("memory.swap_used_bytes", "", float64(swap-free))
	}
	return r.done()
}

// parseMeminfo reads the lines MemTotal, MemAvailable, SwapTotal and SwapFree of
// /proc/meminfo ("MemTotal:  16222924 kB") and returns them in bytes by the
// kernel's name. kB there is 1024 bytes. A line that is missing, comes twice or
// is not a number of kB is an error for that name only.
// Source: proc_meminfo(5), Documentation/filesystems/proc.rst.
func parseMeminfo(data []byte) (map[string]uint64, error) {
	wanted := [...]string{"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"}
	m := make(map[string]uint64, len(wanted))
	said := map[string]bool{}
	var f faults
	for line := range lines(data) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue // not one of the wanted, which then is missing
		}
		for _, want := range wanted {
			if string(bytes.TrimSpace(key)) != want {
				continue
			}
			if said[want] {
				f.addf("line %s: %s appears twice; the first one is used", quote(line), want)
				continue
			}
			said[want] = true
			v, err := kilobytes(value)
			if err != nil {
				f.addf("line %s: %w; no value of it this round", quote(line), err)
				continue
			}
			m[want] = v
		}
	}
	for _, want := range wanted {
		if !said[want] {
			f.addf("no line %s; no value of it this round", want)
		}
	}
	return m, f.err()
}

func kilobytes(value []byte) (uint64, error) {
	var buf [3][]byte
	fields := split(value, buf[:])
	if len(fields) != 2 || string(fields[1]) != "kB" {
		return 0, errors.New("not a number of kB")
	}
	v, err := whole(fields[0])
	if err != nil {
		return 0, err
	}
	if v > math.MaxUint64/1024 {
		return 0, errors.New("more bytes than 64 bits count")
	}
	return v * 1024, nil
}
