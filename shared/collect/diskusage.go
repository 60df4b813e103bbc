package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// maxMounts bounds the filesystems of one round, and those that are asked
	// and have not answered yet.
	maxMounts = 64
	// answerWait is how long a round waits for its filesystems. A healthy one
	// answers from memory.
	answerWait = 500 * time.Millisecond
)

// diskUsageCollector reads the size and the free space of filesystems.
type diskUsageCollector struct {
	roots       hostfs.Roots
	mountpoints []string // empty: the root and every filesystem on a block device
	asked       map[askKey]*asking
	ask         func(filesystem) room // askFilesystem; it may take for ever
}

func newDiskUsage(roots hostfs.Roots, cfg config.MetricConfig, key string) (*diskUsageCollector, error) {
	c := &diskUsageCollector{roots: roots, asked: map[askKey]*asking{}, ask: askFilesystem}
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

// Collect returns disk.total_bytes, .used_bytes and .available_bytes of the root
// filesystem and of each other filesystem on a block device, or of exactly the
// configured mountpoints. Each filesystem is asked by a goroutine of its own: one
// that does not answer is an error for this one only, and is not asked again before it
// has answered. A filesystem that only the user who mounted it may read, and one without
// blocks, are left out, with a Note.
//
// A configured mountpoint where nothing is mounted is an error: an SD card that
// fell out must not show the figures of the filesystem below.
func (c *diskUsageCollector) Collect(now time.Time) ([]metric.Sample, error) {
	r := newReading(now)
	table, path, err := c.readTable(&r)
	if err != nil {
		return nil, err
	}
	all := table.filesystems()
	if len(c.mountpoints) > 0 {
		all = c.configured(&r, table, path)
	}
	if len(all) > maxMounts {
		r.addf("read %s: %d filesystems; those after the first %d are skipped", path, len(all), maxMounts)
		all = all[:maxMounts]
	}
	for i, got := range c.askAll(all) {
		c.enter(&r, all[i], got)
	}
	return r.done()
}

// readTable reads the mount table of this process: the one with parents and
// device numbers, or where a kernel or a captured tree has none, the older one.
func (c *diskUsageCollector) readTable(r *reading) (table mountTable, path string, err error) {
	path = c.roots.ProcPath("self", "mountinfo")
	parse, tree := parseMountinfo, true
	data, err := hostfs.ReadFile(path)
	for _, older := range [][]string{{"self", "mounts"}, {"mounts"}} {
		if errors.Is(err, fs.ErrNotExist) {
			path = c.roots.ProcPath(older...)
			parse, tree = parseMounts, false
			data, err = hostfs.ReadFile(path)
		}
	}
	if err != nil {
		return table, path, err
	}
	mounts, err := parse(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", path, err))
	}
	return newMountTable(mounts, tree), path, nil
}

// configured returns the filesystems at the configured mountpoints.
func (c *diskUsageCollector) configured(r *reading, table mountTable, path string) []filesystem {
	var all []filesystem
	for _, p := range c.mountpoints {
		m, ok := table.at(p)
		// A root there always is; a chroot's table does not list it.
		if !ok && p != "/" {
			r.addf("read %s: nothing is mounted at %q; mountpoint skipped", path, p)
			continue
		}
		all = append(all, filesystem{device: m.device, points: []string{p}})
	}
	return all
}

// enter adds a filesystem's room to the reading, or why there is none.
func (c *diskUsageCollector) enter(r *reading, f filesystem, got room) {
	chosen := len(c.mountpoints) > 0
	switch {
	case got.err == nil:
		tags := metric.Tags("mountpoint", distinct(got.point))
		r.add("disk.total_bytes", tags, float64(got.space.Total))
		r.add("disk.used_bytes", tags, float64(got.space.Total-got.space.Free))
		r.add("disk.available_bytes", tags, float64(got.space.Available))
	case errors.Is(got.err, errNoPlace):
	case !chosen && errors.Is(got.err, fs.ErrPermission):
		r.fault(Note(fmt.Sprintf("%q is left out: only the user who mounted it may read it", f.points[0])))
	case !chosen && errors.Is(got.err, hostfs.ErrNoBlocks):
		r.fault(Note(fmt.Sprintf("%q is left out: it is %v", f.points[0], hostfs.ErrNoBlocks)))
	default:
		r.addf("%w; mountpoint skipped", got.err)
	}
}
