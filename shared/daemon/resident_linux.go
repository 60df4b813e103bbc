package daemon

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapUnused takes the pages of the program and of its libraries out of the
// process: those that are used come back, from the memory of the system, and those
// that only the start needed do not.
//
// No private copy of a page is touched, as those of the linker's tables.
func unmapUnused() error {
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer file.Close()
	var m mapping
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"):
			m = parseMapping(fields)
		case len(fields) >= 2 && fields[0] == "Anonymous:" && fields[1] == "0" && m.ofFile:
			if _, _, e := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); e != 0 {
				return os.NewSyscallError("madvise", e)
			}
		}
	}
	return lines.Err()
}

// A mapping is one of /proc/PID/smaps. See proc(5).
type mapping struct {
	start, end uintptr
	ofFile     bool // private, of a file, and not for writing
}

// parseMapping reads the fields of a line as
//
//	7f0c2a000000-7f0c2a100000 r-xp 00026000 fe:01 1572 /usr/lib/libc.so.6
func parseMapping(fields []string) (m mapping) {
	from, until, ok := strings.Cut(fields[0], "-")
	start, err := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(until, 16, 64)
	if !ok || err != nil || err2 != nil || len(fields) < 6 {
		return m
	}
	mode := fields[1]
	return mapping{uintptr(start), uintptr(end), strings.HasPrefix(fields[5], "/") && strings.HasSuffix(mode, "p") &&
		!strings.Contains(mode, "w")}
}
