package v4l2

import (
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A File is an open video device.
type File struct {
	fd   int
	path string
}

// Open opens a video device for reading. It never waits.
func Open(path string) (*File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ENOTTY}
	}
	return &File{fd: fd, path: path}, nil
}

// Ioctl implements Device.
func (f *File) Ioctl(request uint32, arg []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), uintptr(request), uintptr(unsafe.Pointer(unsafe.SliceData(arg))))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// Close closes the device.
func (f *File) Close() error { return unix.Close(f.fd) }
