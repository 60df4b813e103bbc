package salvage

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

const (
	// readTries is how often a read that fails is tried.
	readTries = 3
	// readAhead is how many bytes are read at once, as pages follow each other.
	readAhead = 64 << 10
)

// A device is a file that may fail to be read in places.
type device struct {
	r     io.ReaderAt
	size  int64
	block []byte // that was read last
	at    int64  // where it begins
	buf   []byte
}

func newDevice(r io.ReaderAt, size int64) *device { return &device{r: r, size: size} }

// openDevice opens a file for reading. A missing one is an empty one.
func openDevice(path string) (*device, func() error, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newDevice(nil, 0), func() error { return nil }, nil
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return newDevice(f, info.Size()), f.Close, nil
}

// read returns length bytes at an offset, fewer at the end of the file. They are
// valid until the next read. ok is false if the device cannot read them.
func (d *device) read(at int64, length int) (data []byte, ok bool) {
	length = int(min(int64(length), d.size-at))
	if at < 0 || length <= 0 {
		return nil, true
	}
	if data := d.cached(at, length); data != nil {
		return data, true
	}
	if d.buf == nil {
		d.buf = make([]byte, 2*readAhead)
	}
	begin := at / readAhead * readAhead
	d.at, d.block = begin, d.fill(d.buf[:min(int64(len(d.buf)), d.size-begin)], begin, 1)
	if data := d.cached(at, length); data != nil {
		return data, true
	}
	d.at, d.block = at, d.fill(d.buf[:length], at, readTries)
	return d.block, d.block != nil
}

func (d *device) cached(at int64, length int) []byte {
	begin := at - d.at
	if d.block == nil || begin < 0 || begin+int64(length) > int64(len(d.block)) {
		return nil
	}
	return d.block[begin : begin+int64(length)]
}

// fill fills the buffer, or returns nil.
func (d *device) fill(buf []byte, at int64, tries int) []byte {
	for range tries {
		n, err := d.r.ReadAt(buf, at)
		if n == len(buf) && (err == nil || errors.Is(err, io.EOF)) {
			return buf
		}
	}
	return nil
}
