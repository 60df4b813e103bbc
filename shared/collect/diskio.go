package collect

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// sectorBytes is the unit of the sector counts in /proc/diskstats: "the
	// standard UNIX 512-byte sectors, not any device- or filesystem-specific
	// block size" (Documentation/block/stat.rst).
	sectorBytes = 512
	// maxDevices bounds the devices of one round, for any pattern.
	maxDevices = 64
)

// diskIOCollector reads the counters of block devices.
type diskIOCollector struct {
	path    string
	allowed *regexp.Regexp
}

func newDiskIO(roots hostfs.Roots, cfg config.MetricConfig, key string) (*diskIOCollector, error) {
	pattern := cfg.AllowedDevices
	if pattern == "" {
		pattern = config.DefaultAllowedDevices
	}
	allowed, err := config.Pattern(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s.allowed_devices: %w", key, err)
	}
	return &diskIOCollector{path: roots.ProcPath("diskstats"), allowed: allowed}, nil
}

// Collect returns the six disk counters of each allowed device, as the kernel
// has them since boot. The two times are 32 bits wide there and begin again at 0
// after 49.7 days: to a program that computes a rate, that is a reset of the counter.
func (c *diskIOCollector) Collect(now time.Time) ([]metric.Sample, error) {
	data, err := hostfs.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	disks, err := parseDiskstats(data, c.allowed.Match)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.path, err))
	}
	if len(disks) > maxDevices {
		r.addf("read %s: %d devices match allowed_devices; those after the first %d are skipped", c.path, len(disks), maxDevices)
		disks = disks[:maxDevices]
	}
	for _, d := range disks {
		tags := metric.Tags("device", d.name)
		r.add("disk.read_ops_total", tags, float64(d.readOps))
		r.add("disk.read_bytes_total", tags, float64(d.readBytes))
		r.add("disk.write_ops_total", tags, float64(d.writeOps))
		r.add("disk.write_bytes_total", tags, float64(d.writeBytes))
		r.add("disk.io_time_ms_total", tags, float64(d.ioTimeMs))
		r.add("disk.weighted_io_time_ms_total", tags, float64(d.weightedMs))
	}
	return r.done()
}

// disk is one line of /proc/diskstats.
type disk struct {
	name                 string
	readOps, readBytes   uint64
	writeOps, writeBytes uint64
	ioTimeMs, weightedMs uint64
}

// The counts of a line that are used, by their place after the name.
const (
	reads = iota
	_     // merged
	sectorsRead
	_ // milliseconds
	writes
	_
	sectorsWritten
	_
	_ // in flight: some drivers let it fall below 0
	ioMs
	weightedMs
	diskCounts
)

// parseDiskstats reads the lines of the devices that wanted says yes to: major,
// minor, name, then at least eleven counts (more since 4.18 and 5.5, not used).
// Counts of other devices are not read, because partitions had fewer before 2.6.25, nor
// are counts that are not used.
// A line that is too short, garbled where it counts or of a device that came before
// is an error for that line only. No lines at all is a machine without disks.
// Source: Documentation/admin-guide/iostats.rst.
func parseDiskstats(data []byte, wanted func(name []byte) bool) ([]disk, error) {
	var disks []disk
	var f faults
	var buf [3 + diskCounts][]byte
	seen := map[string]bool{}
	for line := range lines(data) {
		fields := split(line, buf[:])
		if len(fields) < 3 {
			f.addf("line %s: %d fields, want at least %d; line skipped", quote(line), len(fields), len(buf))
			continue
		}
		if !wanted(fields[2]) {
			var number [2]uint64
			if err := wholes(fields, 1, number[:]); err != nil {
				f.addf("line %s: %w; line skipped", quote(line), err)
			}
			continue
		}
		d, err := parseDisk(fields, len(buf))
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		if seen[d.name] {
			f.addf("line %s: %s appears twice; the first one is used", quote(line), d.name)
			continue
		}
		seen[d.name] = true
		disks = append(disks, d)
	}
	return disks, f.err()
}

func parseDisk(fields [][]byte, want int) (disk, error) {
	if len(fields) < want {
		return disk{}, fmt.Errorf("%d fields, want at least %d", len(fields), want)
	}
	device, err := name(fields[2])
	if err != nil {
		return disk{}, err
	}
	var v [diskCounts]uint64
	for _, i := range []int{reads, sectorsRead, writes, sectorsWritten, ioMs, weightedMs} {
		if v[i], err = whole(fields[3+i]); err != nil {
			return disk{}, fmt.Errorf("field %d: %w", 4+i, err)
		}
	}
	if max(v[sectorsRead], v[sectorsWritten]) > math.MaxUint64/sectorBytes {
		return disk{}, errors.New("more bytes than 64 bits count")
	}
	return disk{
		name:    device,
		readOps: v[reads], readBytes: v[sectorsRead] * sectorBytes,
		writeOps: v[writes], writeBytes: v[sectorsWritten] * sectorBytes,
		ioTimeMs: v[ioMs], weightedMs: v[weightedMs],
	}, nil
}
