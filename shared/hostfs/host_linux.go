package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// BootTime returns the time since boot, suspend included. Nothing sets this
// clock: it only goes forward. Source: CLOCK_BOOTTIME, clock_gettime(2).
func BootTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// MonotonicTime returns the time since boot without suspend, as the journal has it.
// Source: CLOCK_MONOTONIC, clock_gettime(2).
func MonotonicTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// Filesystem returns the room of the filesystem that is mounted at path, or that
// path lies in. It waits as long as the device does not answer. One without
// blocks of its own (proc, cgroup) is an error. Source: statfs(2).
func Filesystem(path string) (Space, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return Space{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	// Blocks are counted in fragments, as statvfs(3) says and df does; the block
	// size is the best size for a transfer, and differs on some filesystems.
	unit := uint64(max(0, st.Frsize))
	if unit == 0 {
		unit = uint64(max(0, st.Bsize))
	}
	s, err := space(st.Blocks, st.Bfree, st.Bavail, unit)
	if err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return s, nil
}

// FreeBytes returns the room that is left for this process on the filesystem that
// path lies in.
func FreeBytes(path string) (int64, error) {
	s, err := Filesystem(path)
	return int64(min(s.Available, math.MaxInt64)), err
}

// Self returns what this process has used. When a figure cannot be read it is
// -1, the error says why, and the others are good.
// Source: getrusage(2), /proc/self/statm and /proc/self/io (proc_pid_io(5)).
func Self() (SelfUse, error) {
	use := SelfUse{ResidentBytes: -1, WrittenBytes: -1}
	var faults []error
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		faults = append(faults, fmt.Errorf("getrusage: %w", err))
	}
	use.CPUSeconds = time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds()
	if data, err := ReadFile("/proc/self/statm"); err != nil {
		faults = append(faults, err)
	} else if pages, err := parseResident(data); err != nil {
		faults = append(faults, fmt.Errorf("read /proc/self/statm: %w", err))
	} else {
		use.ResidentBytes = pages * int64(os.Getpagesize())
	}
	if data, err := ReadFile("/proc/self/io"); err != nil {
		faults = append(faults, err)
	} else if use.WrittenBytes, err = parseWritten(data); err != nil {
		faults = append(faults, fmt.Errorf("read /proc/self/io: %w", err))
	}
	return use, errors.Join(faults...)
}

// parseResident reads the second field of statm: resident pages.
func parseResident(data []byte) (int64, error) {
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return -1, fmt.Errorf("%d fields, want at least 2", len(fields))
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 40)
	if err != nil || pages < 0 {
		return -1, fmt.Errorf("resident pages are not a number: %.40q", fields[1])
	}
	return pages, nil
}

// parseWritten reads the line "write_bytes: N".
func parseWritten(data []byte) (int64, error) {
	for line := range bytes.Lines(data) {
		value, ok := bytes.CutPrefix(line, []byte("write_bytes:"))
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
		if err != nil || n < 0 {
			return -1, fmt.Errorf("write_bytes is not a number: %.40q", value)
		}
		return n, nil
	}
	return -1, errors.New("no line write_bytes")
}
