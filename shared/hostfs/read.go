//go:build unix

package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// maxFileBytes bounds what ReadFile takes. /proc/stat of a server with
	// thousands of interrupts has some hundred kilobytes.
	maxFileBytes = 8 << 20
	// valueBytes bounds what ReadValue takes.
	valueBytes = 128
)

var (
	errNotRegular = errors.New("not a regular file")
	errTooLong    = fmt.Errorf("%d bytes or more, not a single value", valueBytes)
	// ErrEmpty is that of ReadValue for a file with nothing in it.
	ErrEmpty = errors.New("empty")
)

// ReadFile reads a table of /proc from its beginning to its end and returns it
// whole. It fails, and never waits, on a directory, a FIFO, a device and on more
// than 8 MiB. A missing file is an fs.ErrNotExist.
//
// The size that stat gives is not asked for: it is 0 in /proc. Reads are as
// large as the buffer, because the kernel makes the text again for each read
// (seq_file) and few large reads tear less of it.
func ReadFile(path string) ([]byte, error) { return ReadFileUpTo(path, maxFileBytes) }

// ReadFileUpTo is ReadFile for a file that others write: it fails on more than
// most bytes.
func ReadFileUpTo(path string, most int) ([]byte, error) {
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 16<<10)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := read(fd, buf[len(buf):cap(buf)])
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
		if len(buf) > most {
			return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d bytes; this is not a file of that kind", most)}
		}
	}
}

// ReadValue reads one attribute of /sys and returns it without the white space
// around it. It fails on an empty one and on one of 128 bytes or more.
//
// It calls read(2) once and by itself. A sensor whose driver has no reading yet
// answers EAGAIN, and os.ReadFile would then park the goroutine until the file
// becomes ready, which it never does
// (https://github.com/prometheus/node_exporter/issues/697). Once is enough: the
// kernel gives an attribute whole at the first read, and asks the hardware again
// for another (Documentation/filesystems/sysfs.rst).
func ReadValue(path string) (string, error) {
	fd, err := open(path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	value, err := readOnce(fd)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return value, nil
}

func readOnce(fd int) (string, error) {
	var buf [valueBytes]byte
	n, err := read(fd, buf[:])
	if err != nil {
		return "", err
	}
	if n == len(buf) {
		return "", errTooLong
	}
	value := strings.TrimSpace(string(buf[:n]))
	if value == "" {
		return "", ErrEmpty
	}
	return value, nil
}

// open opens a regular file. O_NONBLOCK is for what is none: opening a FIFO
// would otherwise wait for its writer.
func open(path string) (int, error) {
	var fd int
	var err error
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	return fd, nil
}

func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
