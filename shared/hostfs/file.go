//go:build unix

package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// KindOf names what is not a regular file, with its article.
func KindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "no regular file"
}

// ReadRegular reads a file that the configuration names. It fails at once, with
// the file's name, on a directory, a FIFO, a device and on more than most bytes.
func ReadRegular(path string, most int64) ([]byte, error) {
	return readAll(path, most, fs.FileMode.IsRegular)
}

// ReadDevice is ReadRegular for a character device, such as /dev/null.
func ReadDevice(path string, most int64) ([]byte, error) {
	return readAll(path, most, func(m fs.FileMode) bool { return m&fs.ModeCharDevice != 0 })
}

// OpenRegular opens a file that the configuration names, to read it. It fails as
// ReadRegular does, but has no limit.
func OpenRegular(path string) (*os.File, fs.FileInfo, error) {
	return openWanted(path, fs.FileMode.IsRegular)
}

func openWanted(path string, wanted func(fs.FileMode) bool) (*os.File, fs.FileInfo, error) {
	// Opening a FIFO would otherwise wait for its writer, and a terminal become ours.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil, nil, fmt.Errorf("%s: want a regular file, got a socket", path) // it cannot be opened
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !wanted(info.Mode()) {
		err = fmt.Errorf("%s: want a regular file, got %s", path, KindOf(info.Mode()))
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func readAll(path string, most int64, wanted func(fs.FileMode) bool) ([]byte, error) {
	f, info, err := openWanted(path, wanted)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > most {
		return nil, tooLarge(path, most)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most { // grown since, or a device
		return nil, tooLarge(path, most)
	}
	return data, nil
}

func tooLarge(path string, most int64) error {
	if most%(1<<20) == 0 {
		return fmt.Errorf("%s: larger than %d MiB", path, most>>20)
	}
	return fmt.Errorf("%s: larger than %d KiB", path, most>>10)
}
