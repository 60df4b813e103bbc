package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
)

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

var errUnaligned = errors.New("want whole sectors within the disk")

// disk is an image behind a volatile write cache: what is written stays in
// memory until it is flushed, sector by sector.
type disk struct {
	mu      sync.Mutex
	image   *os.File
	size    int64
	cache   map[int64][]byte // sector number → its newest content, unflushed
	flushes int

	cutAt int           // cut at so many unflushed sectors; 0: not armed
	gone  bool          // the power went
	off   chan struct{} // closed when it did
}

var errGone = errors.New("the power is off")

func newDisk(image *os.File) (*disk, error) {
	size, err := image.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return &disk{image: image, size: size, cache: map[int64][]byte{}, off: make(chan struct{})}, nil
}

func (d *disk) check(length int, offset int64) error {
	switch {
	case d.gone:
		return errGone
	case offset < 0 || offset%sectorBytes != 0 || length%sectorBytes != 0 || offset+int64(length) > d.size:
		return errUnaligned
	}
	return nil
}

// read fills b from offset on, with what was written last.
func (d *disk) read(b []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(len(b), offset); err != nil {
		return err
	}
	if _, err := d.image.ReadAt(b, offset); err != nil {
		return err
	}
	for at := 0; at < len(b); at += sectorBytes {
		if cached, ok := d.cache[(offset+int64(at))/sectorBytes]; ok {
			copy(b[at:], cached)
		}
	}
	return nil
}

// write takes b into the cache, or past it where durable says so (FUA).
func (d *disk) write(b []byte, offset int64, durable bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check(len(b), offset); err != nil {
		return err
	}
	for at := 0; at < len(b); at += sectorBytes {
		sector := (offset + int64(at)) / sectorBytes
		if durable {
			delete(d.cache, sector)
		} else {
			d.cache[sector] = append([]byte(nil), b[at:at+sectorBytes]...)
		}
	}
	if durable {
		_, err := d.image.WriteAt(b, offset)
		return err
	}
	d.cutIfDue()
	return nil
}

// flush writes everything to the image.
func (d *disk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return errGone
	}
	d.flushes++
	for sector, b := range d.cache {
		if _, err := d.image.WriteAt(b, sector*sectorBytes); err != nil {
			return err
		}
	}
	clear(d.cache)
	return nil
}

// cut arms the cut of the power: it comes in the middle of the next writes, as
// soon as there are so many sectors unflushed. Nothing is read or written after
// it, and off is closed.
func (d *disk) cut(unflushed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = max(unflushed, 1)
	d.cutIfDue()
}

func (d *disk) cutIfDue() {
	if !d.gone && d.cutAt > 0 && len(d.cache) >= d.cutAt {
		d.gone = true
		close(d.off)
	}
}

// after writes to path what the disk may hold after the cut: everything that was
// flushed, and of the other sectors those that keep picks, as a real disk writes
// its cache in any order.
func (d *disk) after(path string, keep func() bool) (kept, lost int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out, err := os.Create(path)
	if err != nil {
		return 0, 0, err
	}
	defer out.Close()
	if _, err := io.Copy(out, io.NewSectionReader(d.image, 0, d.size)); err != nil {
		return 0, 0, err
	}
	for sector, b := range d.cache {
		if !keep() {
			lost++
			continue
		}
		kept++
		if _, err := out.WriteAt(b, sector*sectorBytes); err != nil {
			return kept, lost, err
		}
	}
	return kept, lost, out.Close()
}

// none and half are what the cache may come to.
func none() bool { return false }

func half() bool { return rand.N(2) == 0 }
