package collect

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// parseMountinfo reads /proc/self/mountinfo: id, parent's id, major:minor, the
// folder of the filesystem, mountpoint, options, any number of optional fields, a
// lone hyphen, type and source. A line with too few fields, a garbled id or a
// mountpoint that is no absolute path is an error for that line only.
// Source: proc_pid_mountinfo(5); show_mountinfo in fs/proc_namespace.c.
func parseMountinfo(data []byte) ([]mount, error) {
	var mounts []mount
	var f faults
	for line := range lines(data) {
		m, err := parseMountinfoLine(line)
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts, f.err()
}

func parseMountinfoLine(line []byte) (mount, error) {
	head, tail, ok := bytes.Cut(line, []byte(" - "))
	if !ok {
		return mount{}, errors.New("no lone hyphen")
	}
	var buf [6][]byte
	fields := split(head, buf[:])
	if len(fields) < len(buf) {
		return mount{}, fmt.Errorf("%d fields before the hyphen, want at least %d", len(fields), len(buf))
	}
	var ids [2]uint64
	if err := wholes(fields, 1, ids[:]); err != nil {
		return mount{}, err
	}
	// An empty source leaves two spaces.
	fstype, rest, _ := bytes.Cut(tail, []byte(" "))
	source, _, _ := bytes.Cut(rest, []byte(" "))
	m := mount{
		id: ids[0], parent: ids[1], device: string(fields[2]), root: unescape(fields[3]), point: unescape(fields[4]),
		fstype: string(fstype), source: unescape(source),
	}
	return m, checkPoint(m.point)
}

// parseMounts reads /proc/mounts: source, mountpoint, type, options and two
// numbers that are not used. It has neither parents nor folders, and a device
// is known by its source.
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
		m := mount{source: unescape(fields[0]), root: "/", point: unescape(fields[1]), fstype: string(fields[2])}
		m.device = m.source
		if err := checkPoint(m.point); err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		mounts = append(mounts, m)
	}
	return mounts, f.err()
}

func checkPoint(point string) error {
	if !strings.HasPrefix(point, "/") || len(point) > maxPath || strings.Contains(point, "\x00") {
		return errors.New("the mountpoint is not an absolute path")
	}
	return nil
}

// unescape replaces each \ooo by its byte: space, tab, newline, backslash and #
// stand in the table as a backslash and three octal digits. A backslash before
// anything else stays: the kernel escapes every backslash, so there is none.
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
