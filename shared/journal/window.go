package journal

import (
	"errors"
	"fmt"
	"io"
)

// bytes returns n bytes of the file, good until the next call.
func (j *File) bytes(offset, n uint64) ([]byte, error) {
	if offset < headerBytes || offset > maxOffset || n > maxValue+compactDataBytes+16*maxItems {
		return nil, ErrDamaged
	}
	if b := part(j.window, j.at, offset, n); b != nil {
		return b, nil
	}
	if b := part(j.peek, j.peekAt, offset, n); b != nil {
		return b, nil
	}
	if j.window != nil && offset < j.at {
		j.peekAt = offset
		return j.read(&j.peek, offset, n, max(n, peekBytes))
	}
	b, err := j.read(&j.buf, offset, n, max(n, windowBytes))
	if err != nil {
		j.window = nil
		return nil, err
	}
	j.window, j.at = b[:len(j.buf)], offset
	return b, nil
}

// part returns n bytes from offset on of b, which begins at start; nil where they
// are not all in it.
func part(b []byte, start, offset, n uint64) []byte {
	if offset < start || offset+n > start+uint64(len(b)) {
		return nil
	}
	return b[offset-start : offset-start+n]
}

// read reads up to most bytes, and at least n, into a buffer.
func (j *File) read(buf *[]byte, offset, n, most uint64) ([]byte, error) {
	if uint64(cap(*buf)) < most {
		*buf = make([]byte, most)
	}
	*buf = (*buf)[:most]
	got, err := j.f.ReadAt(*buf, int64(offset)) //nolint:gosec // an offset out of range is an error of pread
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	*buf = (*buf)[:got]
	if uint64(got) < n {
		return nil, fmt.Errorf("%w: it ends before the length that it states", ErrDamaged)
	}
	return (*buf)[:n], nil
}
