//go:build !linux

package v4l2

import (
	"io/fs"
)

// A File is an open video device.
type File struct{}

// Open fails: only Linux has such devices.
func Open(path string) (*File, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// Ioctl implements Device.
func (*File) Ioctl(uint32, []byte) error { return fs.ErrInvalid }

// Close closes nothing.
func (*File) Close() error { return nil }
