package collect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// maxMounts bounds the filesystems of one round.
	maxMounts = 64
	// maxPath bounds a path in the mount table (PATH_MAX).
	maxPath = 4096
)

// diskUsageCollector asks filesystems for their room.
type diskUsageCollector struct {
	tables      []string // mount tables, the first that exists counts
	mountpoints []string // empty: every filesystem on a block device
}

func newDiskUsage(roots hostfs.Roots, cfg config.MetricConfig, key string) (*diskUsageCollector, error) {
	c := &diskUsageCollector{tables: []string{roots.ProcPath("self", "mounts"), roots.ProcPath("mounts")}}
	for i, m := range cfg.Mountpoints {
		if !filepath.IsAbs(m) {
			return nil, fmt.Errorf("%s.mountpoints[%d]: %q is not an absolute path", key, i, m)
		}
		if m = filepath.Clean(m); !slices.Contains(c.mountpoints, m) {
			c.mountpoints = append(c.mountpoints, m)
		}
	}
	return c, nil
}

// Collect returns disk.total_bytes, .used_bytes and .available_bytes for each
// filesystem on a block device, under its shortest mountpoint, or for exactly the
// configured mountpoints. Where no filesystem is on a block device, as in a
// container, it is the root filesystem. A configured mountpoint with nothing
// mounted is an error: an SD card that fell out must not show the figures of the
// filesystem below. It waits as long as a device does not answer.
func (c *diskUsageCollector) Collect(now time.Time) ([]metric.Sample, error) {
	table, data, err := c.readTable()
	if err != nil {
		return nil, err
	}
	r := newReading(now)
	mounts, err := parseMounts(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", table, err))
	}
	points := c.mountpoints
	if len(points) == 0 {
		points = onBlockDevices(mounts, isDir)
		if len(points) == 0 {
			points = []string{"/"}
		}
		if len(points) > maxMounts {
			r.addf("read %s: %d filesystems; those after the first %d are skipped", table, len(points), maxMounts)
			points = points[:maxMounts]
		}
	}
	for _, p := range points {
		// A root there always is; a chroot's table does not list it.
		if len(c.mountpoints) > 0 && p != "/" && !slices.ContainsFunc(mounts, func(m mount) bool { return m.point == p }) {
			r.addf("read %s: nothing is mounted at %q; mountpoint skipped", table, p)
			continue
		}
		s, err := hostfs.Filesystem(p)
		if err != nil {
			r.addf("%w; mountpoint skipped", err)
			continue
		}
		tags := metric.Tags("mountpoint", strings.ToValidUTF8(p, "\uFFFD"))
		r.add("disk.total_bytes", tags, float64(s.Total))
		r.add("disk.used_bytes", tags, float64(s.Total-s.Free))
		r.add("disk.available_bytes", tags, float64(s.Available))
	}
	return r.done()
}

func (c *diskUsageCollector) readTable() (path string, data []byte, err error) {
	for _, path := range c.tables {
		data, err = hostfs.ReadFile(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return path, data, err
		}
	}
	return "", nil, err
}

// isDir says whether path is a directory, or cannot be looked at, which
// Filesystem then says better.
func isDir(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.IsDir()
}

// mount is one line of the mount table.
type mount struct{ source, point, fstype string }

// onBlockDevices returns the mountpoints, by name, of the filesystems on block
// devices that hold data: not loop devices and squashfs, which are files and
// always full, and not memory. A device mounted several times (bind mounts,
// subvolumes, a service's private view) is one filesystem: its shortest
// mountpoint counts. Files mounted over files, as containers have, are not
// places; a mountpoint that was mounted over shows the last mount.
func onBlockDevices(mounts []mount, isDir func(path string) bool) []string {
	top := map[string]mount{}
	for _, m := range mounts {
		top[m.point] = m
	}
	shortest := map[string]string{}
	for _, m := range mounts {
		if top[m.point] != m || !holdsData(m) || !isDir(m.point) {
			continue
		}
		if p, ok := shortest[m.source]; !ok || len(m.point) < len(p) {
			shortest[m.source] = m.point
		}
	}
	points := make([]string, 0, len(shortest))
	for _, p := range shortest {
		points = append(points, p)
	}
	slices.Sort(points)
	return points
}

func holdsData(m mount) bool {
	device, ok := strings.CutPrefix(m.source, "/dev/")
	if !ok || m.fstype == "squashfs" {
		return false
	}
	for _, prefix := range []string{"loop", "ram", "zram"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return true
}

// parseMounts reads a mount table: source, mountpoint, type, options and two
// numbers that are not used. Space, tab, newline, backslash and # stand there as
// a backslash and three octal digits. A line with fewer than four fields or a
// mountpoint that is no absolute path is an error for that line only.
// Source: proc_pid_mounts(5), fstab(5); mangle in fs/proc_namespace.c.
func parseMounts(data []byte) ([]mount, error) {
	var mounts []mount
	var f faults
	var buf [4][]byte
	for line := range lines(data) {
		fields := split(line, buf[:])
		if len(fields) < len(buf) {
			f.addf("line %s: %d fields, want at least %d; line skipped", quote(line), len(fields), len(buf))
			continue
		}
		m := mount{unescape(fields[0]), unescape(fields[1]), string(fields[2])}
		if !strings.HasPrefix(m.point, "/") || len(m.point) > maxPath || strings.Contains(m.point, "\x00") {
			f.addf("line %s: the mountpoint is not an absolute path; line skipped", quote(line))
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts, f.err()
}

// unescape replaces each \ooo by its byte. A backslash before anything else
// stays: the kernel escapes every backslash, so there is none.
func unescape(field []byte) string {
	if bytes.IndexByte(field, '\\') < 0 {
		return string(field)
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			a, b, c := field[i+1]-'0', field[i+2]-'0', field[i+3]-'0'
			if a < 4 && b < 8 && c < 8 {
				out = append(out, a<<6|b<<3|c)
				i += 3
				continue
			}
		}
		out = append(out, field[i])
	}
	return string(out)
}
