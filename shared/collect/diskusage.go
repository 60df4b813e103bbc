package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// diskUsageCollector asks filesystems for their room.
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
// that does not answer is an error, costs nobody else's figures, and is not asked
// again before it has answered. A filesystem that another user mounted for
// himself and one without blocks are left out, with a Note.
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
		r.fault(Note(fmt.Sprintf("%q is left out: only the user who mounted it may look at it", f.points[0])))
	case !chosen && errors.Is(got.err, hostfs.ErrNoBlocks):
		r.fault(Note(fmt.Sprintf("%q is left out: it is %v", f.points[0], hostfs.ErrNoBlocks)))
	default:
		r.addf("%w; mountpoint skipped", got.err)
	}
}

// A room is what a filesystem answered.
type room struct {
	point string // where it was asked
	space hostfs.Space
	err   error
	took  time.Duration
}

// errNoPlace says that a mount is no filesystem to report.
var errNoPlace = errors.New("no filesystem of a device")

// askFilesystem asks for the room at the first of a filesystem's points that is
// a folder and may be looked at. It waits as long as the device does not answer.
// Files mounted over files, as containers have, are not places.
func askFilesystem(f filesystem) room {
	if info, err := os.Stat(f.source); err == nil && f.source != "" && (info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0) {
		return room{err: errNoPlace}
	}
	first := room{err: errNoPlace}
	for _, p := range f.points {
		if info, err := os.Stat(p); err == nil && !info.IsDir() {
			continue
		}
		got := room{point: p}
		if got.space, got.err = hostfs.Filesystem(p); got.err == nil {
			return got
		}
		if first.point == "" {
			first = got
		}
	}
	return first
}

// askKey tells filesystems apart: the same device at another place may be
// another one, after a stick was pulled and another put in.
type askKey struct{ device, point string }

// asking is what is remembered of one filesystem.
type asking struct {
	answer chan room // nil: no answer is outstanding
	since  time.Time
	slow   bool // its last answer came late: rounds do not wait for the next one
}

// askAll asks all filesystems at once and returns their answers in order. It
// waits for those that answered in time before, at most answerWait.
func (c *diskUsageCollector) askAll(all []filesystem) []room {
	now := time.Now()
	answers := make([]room, len(all))
	mine := make([]*asking, len(all))
	c.forget(all)
	for i, f := range all {
		mine[i], answers[i].err = c.start(f, now)
	}
	deadline := time.NewTimer(answerWait)
	defer deadline.Stop()
	expired := false
	for i, a := range mine {
		if a != nil && !a.slow && !expired {
			select {
			case answers[i] = <-a.answer:
				a.answer = nil
			case <-deadline.C:
				expired = true
			}
		}
	}
	for i, a := range mine {
		if a == nil || a.answer == nil {
			continue
		}
		select {
		case answers[i] = <-a.answer:
			a.answer, a.slow = nil, false
		default:
			a.slow = true
			answers[i].err = fmt.Errorf("the filesystem at %q has not answered for %s; it is asked again once it has", all[i].points[0], time.Since(a.since).Round(time.Second/10))
		}
	}
	return answers
}

// start asks one filesystem, unless it still owes an answer.
func (c *diskUsageCollector) start(f filesystem, now time.Time) (*asking, error) {
	key := f.key()
	a := c.asked[key]
	if a == nil {
		if len(c.asked) >= 2*maxMounts {
			return nil, fmt.Errorf("the filesystem at %q is not asked: %d others have not answered", f.points[0], maxMounts)
		}
		a = &asking{}
		c.asked[key] = a
	}
	if a.answer != nil {
		select {
		case late := <-a.answer: // its round is over
			a.answer, a.slow = nil, late.took > answerWait
		default:
			return a, nil
		}
	}
	answer := make(chan room, 1)
	a.answer, a.since = answer, now
	go func() {
		got := c.ask(f)
		got.took = time.Since(now)
		answer <- got
	}()
	return a, nil
}

// forget drops what is remembered of filesystems that are gone and owe nothing.
func (c *diskUsageCollector) forget(all []filesystem) {
	there := make(map[askKey]bool, len(all))
	for _, f := range all {
		there[f.key()] = true
	}
	for key, a := range c.asked {
		if !there[key] && (a.answer == nil || len(a.answer) > 0) {
			delete(c.asked, key)
		}
	}
}

func (f filesystem) key() askKey { return askKey{f.device, f.points[0]} }
