package collect

import (
	"slices"
	"strings"
)

const (
	// maxPath bounds a path in the mount table (PATH_MAX).
	maxPath = 4096
	// maxPoints bounds the places at which one filesystem is looked for.
	maxPoints = 8
	// maxStack bounds the mounts on top of each other at one point.
	maxStack = 256
)

// mount is one line of a mount table.
type mount struct {
	id, parent uint64
	device     string // major:minor; where the table has none, the source
	root       string // the folder of the filesystem that is seen at point
	point      string // bytes, not always UTF-8
	fstype     string
	source     string
}

// A filesystem is one device with the places where it can be asked, the best
// first.
type filesystem struct {
	device string
	source string
	points []string
}

// A mountTable is what one reading of the kernel's table says.
type mountTable struct {
	mounts  []mount
	visible []bool // whether the mount's point leads to it
}

// newMountTable finds out which mounts a path leads to. A mount is hidden when a
// later one lies on its mountpoint or on a folder above it.
func newMountTable(mounts []mount, withParents bool) mountTable {
	t := mountTable{mounts: mounts, visible: make([]bool, len(mounts))}
	if withParents {
		t.followParents()
	} else {
		t.followOrder()
	}
	return t
}

// place is a mountpoint within the mount in which it lies.
type place struct {
	parent uint64
	point  string
}

// noParent stands for the mounts whose parent is not in the table: the root,
// and in a chroot whatever lies in the mount around it. The kernel's ids are of
// 32 bits.
const noParent = 1 << 40

// followParents walks to each mountpoint as the kernel does: from the root down,
// and at each folder into what is mounted on it.
func (t mountTable) followParents() {
	ids := make(map[uint64]bool, len(t.mounts))
	for _, m := range t.mounts {
		ids[m.id] = true
	}
	on := make(map[place]int, len(t.mounts))
	for i, m := range t.mounts {
		if !ids[m.parent] || m.parent == m.id {
			m.parent = noParent
		}
		on[place{m.parent, m.point}] = i
	}
	for i, m := range t.mounts {
		t.visible[i] = t.walk(on, m.point) == i
	}
}

// walk returns the mount at the end of a path, or -1.
func (t mountTable) walk(on map[place]int, path string) int {
	at, id := -1, uint64(noParent)
	for folder := range folders(path) {
		strays := id != noParent // a mount whose parent is unknown may lie here
		for range maxStack {
			next, ok := on[place{id, folder}]
			if !ok && strays {
				next, ok = on[place{noParent, folder}]
				strays = false
			}
			if !ok {
				break
			}
			at, id = next, t.mounts[next].id
		}
	}
	return at
}

// followOrder serves a table without parents: a later line hides what lies at
// its point and below. The root is no exception to the first and is to the
// second: an initial ramdisk mounts /run and /dev before it.
func (t mountTable) followOrder() {
	later := make(map[string]bool, len(t.mounts))
	for i, m := range slices.Backward(t.mounts) {
		t.visible[i] = true
		for folder := range folders(m.point) {
			if later[folder] && (folder != "/" || m.point == "/") {
				t.visible[i] = false
			}
		}
		later[m.point] = true
	}
}

// folders yields "/", "/a", "/a/b" for "/a/b".
func folders(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if !yield("/") || path == "/" {
			return
		}
		for i := 1; i < len(path); i++ {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
		yield(path)
	}
}

// at returns the mount that path leads to, if path is its mountpoint.
func (t mountTable) at(path string) (mount, bool) {
	for i, m := range t.mounts {
		if t.visible[i] && m.point == path {
			return m, true
		}
	}
	return mount{}, false
}

// filesystems returns the root, whatever it lies on, and each other filesystem
// that is on a block device and holds data, by mountpoint. One that is mounted
// several times (bind mounts, subvolumes, a service's private view) is there
// once: the mount of the whole comes before that of one of its folders, the
// earlier before the later.
func (t mountTable) filesystems() []filesystem {
	root := filesystem{device: "/", points: []string{"/"}}
	if m, ok := t.at("/"); ok {
		root.device = m.device
	}
	roots := map[place]bool{} // folders that are mounted, by number of the filesystem
	number := map[string]uint64{root.device: 0}
	mine := func(i int, m mount) bool { return t.visible[i] && holdsData(m) && m.device != root.device }
	for i, m := range t.mounts {
		if mine(i, m) {
			if _, ok := number[m.device]; !ok {
				number[m.device] = uint64(len(number))
			}
			roots[place{number[m.device], m.root}] = true
		}
	}
	all := make([]filesystem, len(number))
	for i, m := range t.mounts {
		if !mine(i, m) {
			continue
		}
		n := number[m.device]
		part := false
		for folder := range folders(m.root) {
			part = part || folder != m.root && roots[place{n, folder}]
		}
		if f := &all[n]; !part && len(f.points) < maxPoints {
			f.device, f.source = m.device, m.source
			f.points = append(f.points, m.point)
		}
	}
	all = all[1:]
	slices.SortFunc(all, func(a, b filesystem) int { return strings.Compare(a.points[0], b.points[0]) })
	return append([]filesystem{root}, all...)
}

// holdsData says whether a mount is of a block device and not of memory, nor of
// a loop device or squashfs, which are files and always full.
func holdsData(m mount) bool {
	device, ok := strings.CutPrefix(m.source, "/dev/")
	if !ok || device == "fuse" || m.fstype == "squashfs" {
		return false
	}
	for _, prefix := range []string{"loop", "ram", "zram"} {
		if strings.HasPrefix(device, prefix) {
			return false
		}
	}
	return true
}
