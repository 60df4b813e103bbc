package repair

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// errUnmounted means that the filesystem of the database is not mounted. A new
// database on the disk below would fill that disk, and be hidden when the filesystem
// is mounted again.
var errUnmounted = errors.New("the filesystem of the database is not mounted; " +
	"samples wait in memory until it is, nothing is written to the disk below")

// errNoPlace is returned for a path below /dev, /proc or /sys.
var errNoPlace = errors.New("no database is created below /dev, /proc and /sys; set storage.path to another file")

// checkPlace fails if there may be no database at the path. mount is the mount point
// of its filesystem when the database was opened last; "": unknown.
func checkPlace(path, mount string) error {
	if hostfs.BelowKernel(hostfs.Resolve(filepath.Dir(path))) {
		return fmt.Errorf("%s: %w", path, errNoPlace)
	}
	if mount == "" {
		return nil
	}
	if now := mountOf(path); now != "" && now != mount && isBelow(mount, now) {
		return fmt.Errorf("%w (%s)", errUnmounted, mount)
	}
	return nil
}

// checkMounted fails if a new database at the path would be on the disk below a
// filesystem that is not mounted yet.
func (o *Owner) checkMounted() error {
	if _, err := os.Lstat(o.path); err == nil || o.db.Opened() {
		return nil
	}
	if at := missingMount(o.fstab, o.path); at != "" {
		return fmt.Errorf("%w (%s is in %s)", errUnmounted, at, o.fstab)
	}
	return nil
}

// isBelow says whether a path is a directory or below it.
func isBelow(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// mountOf returns the mount point of the filesystem of the database's directory; "":
// unknown. Format: proc_pid_mountinfo(5).
func mountOf(path string) (mount string) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	return deepest(mountPoints(f, 4), path)
}

// missingMount returns the mount point in the system's table that is above the
// database's directory, if nothing is mounted there; "": none. Format: fstab(5).
func missingMount(fstab, path string) string {
	f, err := os.Open(fstab)
	if err != nil {
		return ""
	}
	defer f.Close()
	want, now := deepest(mountPoints(f, 1), path), mountOf(path)
	if want == "" || now == "" || want == now || !isBelow(want, now) {
		return ""
	}
	return want
}

// deepest returns the lowest of the mount points above the database's directory.
func deepest(points []string, path string) (mount string) {
	dir := hostfs.Resolve(filepath.Dir(path))
	for _, at := range points {
		if isBelow(dir, at) && len(at) >= len(mount) {
			mount = at
		}
	}
	return mount
}

// mountPoints reads one field of each line of a table, if it is a path.
func mountPoints(table io.Reader, field int) (points []string) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > field && !strings.HasPrefix(fields[0], "#") && strings.HasPrefix(fields[field], "/") {
			points = append(points, filepath.Clean(unescape(fields[field])))
		}
	}
	return points
}

// unescape replaces the octal escapes of mountinfo: \040 for a space.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
