package salvage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/taniwha3/thugshells/shared/store"
)

// Format: sqlite.org/fileformat2.html, "The Write-Ahead Log".
const (
	walMagic    = 0x377f0682
	walHeader   = 32
	frameHeader = 24
)

// A frame is a page in the WAL.
type frame struct {
	page uint32
	n    int32 // number of the frame, from 1
	at   int64 // where its page begins
}

// A wal is what a write-ahead log contains.
type wal struct {
	device     *device
	head       string // its header, which is another one for each use of the file
	headless   bool   // the header is broken
	pageSize   int    // 0: the file is empty or headless
	pages      uint32 // of the database after the last good commit; 0: there is none
	frames     int    // up to the last good commit
	beyond     int    // commits from the first broken frame on
	broken     bool
	unread     int64 // frames that the device cannot read
	lastBroken int32 // number of the last broken frame

	good   []frame // the last of each page, up to the last good commit
	behind []frame // the last of each page that was committed behind a broken frame or header
}

// A WALState is what CheckWAL finds in a write-ahead log.
type WALState struct {
	Head    string // its header, which is another one for each use of the file
	Frames  int    // up to the last commit that SQLite will find
	Beyond  int    // commits after the first broken frame, all of which SQLite drops
	Damaged bool
}

// CheckWAL reads the WAL at path; a missing one is empty. It fails if the device
// cannot read all of it. This process must have no connection to the database:
// closing the file drops the locks that SQLite holds on it.
func CheckWAL(path string) (s WALState, err error) {
	d, closeFile, err := openDevice(path)
	if err != nil {
		return s, err
	}
	w := readWAL(d)
	if w.unread > 0 {
		err = fmt.Errorf("read %s: %w", path, store.ErrDevice)
	}
	return WALState{w.head, w.frames, w.beyond, w.broken}, errors.Join(err, closeFile())
}

// readWAL reads a WAL as SQLite's recovery does, and continues after the first
// broken frame, where SQLite stops. One commit after it may be a transaction that
// a power cut interrupted; it was never in the database. Two or more, or a broken
// header, are damage. A frame behind the damage is used if its checksum continues
// the one that the frame before it has. See readHeadless for a broken header.
func readWAL(d *device) *wal {
	w := &wal{device: d}
	head, ok := d.read(0, walHeader)
	if !ok {
		w.broken, w.headless, w.unread = true, true, 1
		return w
	}
	if len(head) < walHeader || len(bytes.Trim(head, "\x00")) == 0 {
		return w // nothing was written, or a power cut came before the first sync
	}
	w.head = string(head)
	var order binary.ByteOrder = binary.LittleEndian
	magic := binary.BigEndian.Uint32(head)
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	size := int(binary.BigEndian.Uint32(head[8:]))
	sum := sumOf(order, [2]uint32{}, head[:24])
	if magic&^1 != walMagic || !isPageSize(size) || sum != storedSum(head[24:]) {
		w.broken, w.headless = true, true
		return w
	}
	w.pageSize = size
	w.readFrames(order, sum)
	return w
}

// readFrames lists the frames of a WAL whose header is intact.
func (w *wal) readFrames(order binary.ByteOrder, sum [2]uint32) {
	salt, broken := []byte(w.head[16:24]), false
	var since []frame // the last commit
	for n, at := int32(1), int64(walHeader); ; n, at = n+1, at+int64(frameHeader+w.pageSize) {
		data, ok := w.device.read(at, frameHeader+w.pageSize)
		if ok && len(data) < frameHeader+w.pageSize {
			break
		}
		if !ok {
			w.unread++
			broken, w.lastBroken = true, n
			continue
		}
		one := frame{binary.BigEndian.Uint32(data), n, at + frameHeader}
		pages := binary.BigEndian.Uint32(data[4:])
		ofThisUse, commit := bytes.Equal(data[8:16], salt), pages != 0
		fits := ofThisUse && one.page > 0 && frameSum(order, sum, data) == storedSum(data[16:])
		sum = storedSum(data[16:])
		broken = broken || !fits
		if broken && ofThisUse && commit {
			w.beyond++
		}
		if !fits {
			if ofThisUse {
				w.lastBroken = n
			}
			continue
		}
		since = append(since, one)
		switch {
		case !commit:
		case broken:
			w.behind, since = append(w.behind, since...), since[:0]
		default:
			w.good, since = append(w.good, since...), since[:0]
			w.frames, w.pages = int(n), pages
		}
	}
	if w.broken = w.beyond > 1; !w.broken {
		w.behind = nil
	}
	w.good, w.behind = lastOfEach(w.good), lastOfEach(w.behind)
}

// readHeadless lists the frames of a WAL with a broken header. The salt of the
// first frame that continues the checksum of the one before it identifies the
// frames of the same use of the file.
func (w *wal) readHeadless(pageSize int) {
	var salt []byte
	var before [2]uint32
	for n, at := int32(1), int64(walHeader); ; n, at = n+1, at+int64(frameHeader+pageSize) {
		data, ok := w.device.read(at, frameHeader+pageSize)
		if ok && len(data) < frameHeader+pageSize {
			break
		}
		if !ok {
			continue
		}
		sum := storedSum(data[16:])
		fits := n > 1 && (frameSum(binary.LittleEndian, before, data) == sum || frameSum(binary.BigEndian, before, data) == sum)
		before = sum
		if !fits || salt != nil && !bytes.Equal(salt, data[8:16]) {
			continue
		}
		salt = append(salt[:0], data[8:16]...)
		w.behind = append(w.behind, frame{binary.BigEndian.Uint32(data), n, at + frameHeader})
	}
	w.behind = lastOfEach(w.behind)
}

// lastOfEach sorts frames by page and keeps the last of each.
func lastOfEach(all []frame) []frame {
	slices.SortFunc(all, func(a, b frame) int { return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(b.n, a.n)) })
	return slices.Clip(slices.CompactFunc(all, func(a, b frame) bool { return a.page == b.page }))
}

// find returns the frame of a page.
func find(sorted []frame, page uint32) (frame, bool) {
	i, found := slices.BinarySearchFunc(sorted, page, func(f frame, page uint32) int { return cmp.Compare(f.page, page) })
	if !found {
		return frame{}, false
	}
	return sorted[i], true
}

func storedSum(data []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])}
}

// frameSum is the checksum of a frame, which continues that of the frame before it.
func frameSum(order binary.ByteOrder, before [2]uint32, data []byte) [2]uint32 {
	return sumOf(order, sumOf(order, before, data[:8]), data[frameHeader:])
}

func sumOf(order binary.ByteOrder, sum [2]uint32, data []byte) [2]uint32 {
	for ; len(data) >= 8; data = data[8:] {
		sum[0] += order.Uint32(data) + sum[1]
		sum[1] += order.Uint32(data[4:]) + sum[0]
	}
	return sum
}
