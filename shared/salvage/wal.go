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
	at   int64 // where the page begins
}

// A wal is what a write-ahead log has in it.
type wal struct {
	head     string // its header: another one for each use of the file
	pageSize int    // 0: there is no header, or a broken one
	pages    uint32 // of the database after the last good commit, 0: there is none
	frames   int    // up to the last good commit
	beyond   int    // commits from the first broken frame on
	broken   bool
	unread   int64 // frames that the device cannot read

	good       []frame // one for each page: the last up to the last good commit
	behind     []frame // one for each page: the last of what was committed behind a broken frame
	loose      []frame // frames of a WAL whose header is broken
	lastBroken int32   // number of the last frame that is broken
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

// A walReader goes through the frames of a WAL.
type walReader struct {
	d     *device
	order binary.ByteOrder
	salt  []byte
	sum   [2]uint32 // of the frame before, as the WAL itself says
	since []frame   // the last commit
}

// readWAL reads a WAL as SQLite's recovery does, and on beyond the first frame
// that does not fit: SQLite takes that for the end. A single commit there may be
// one that a power cut tore, and was never in the database; more than one, or a
// header that is none, is damage. A frame behind a broken one is used if it fits
// to the sum that the one before it carries. A WAL without a header has a pageSize of 0; see
// readLoose.
func readWAL(d *device) *wal {
	w := &wal{}
	head, ok := d.read(0, walHeader)
	if !ok {
		w.broken, w.unread = true, 1
		return w
	}
	if len(head) < walHeader || len(bytes.Trim(head, "\x00")) == 0 {
		return w // it was never begun, or a power cut came before its first sync
	}
	w.head = string(head)
	r := &walReader{d: d, order: binary.LittleEndian, salt: []byte(w.head[16:24])}
	magic := binary.BigEndian.Uint32(head)
	if magic&1 == 1 {
		r.order = binary.BigEndian
	}
	size := int(binary.BigEndian.Uint32(head[8:]))
	r.sum = sumOf(r.order, [2]uint32{}, head[:24])
	if magic&^1 != walMagic || !isPageSize(size) || r.sum != storedSum(head[24:]) {
		w.broken = true
		return w
	}
	w.pageSize = size
	w.readFrames(r)
	return w
}

func (w *wal) readFrames(r *walReader) {
	broken := false
	for n := 1; ; n++ {
		at := walHeader + int64(n-1)*int64(frameHeader+w.pageSize)
		data, ok := r.d.read(at, frameHeader+w.pageSize)
		if ok && len(data) < frameHeader+w.pageSize {
			break
		}
		if !ok {
			w.unread++
			broken, w.lastBroken = true, int32(n) //nolint:gosec // a WAL has fewer frames
			continue
		}
		one := frame{binary.BigEndian.Uint32(data), int32(n), at + frameHeader} //nolint:gosec // a WAL has fewer frames
		pages := binary.BigEndian.Uint32(data[4:])
		ofThis, commit := bytes.Equal(data[8:16], r.salt), pages != 0
		fits := ofThis && one.page > 0 && sumOf(r.order, sumOf(r.order, r.sum, data[:8]), data[frameHeader:]) == storedSum(data[16:])
		r.sum = storedSum(data[16:])
		broken = broken || !fits
		if broken && ofThis && commit {
			w.beyond++
		}
		if !fits {
			if ofThis {
				w.lastBroken = one.n
			}
			continue
		}
		r.since = append(r.since, one)
		switch {
		case !commit:
		case broken:
			w.behind, r.since = append(w.behind, r.since...), r.since[:0]
		default:
			w.good, r.since = append(w.good, r.since...), r.since[:0]
			w.frames, w.pages = n, pages
		}
	}
	w.broken = w.beyond > 1
	if !w.broken {
		w.behind = nil
	}
	w.good, w.behind = lastOfEach(w.good), lastOfEach(w.behind)
}

// readLoose lists the frames of a WAL without a header. The first frame that
// fits to the one before it tells which use of the file they are of.
func (w *wal) readLoose(d *device, pageSize int) {
	var salt []byte
	var before [2]uint32
	for n := 1; ; n++ {
		at := walHeader + int64(n-1)*int64(frameHeader+pageSize)
		data, ok := d.read(at, frameHeader+pageSize)
		if ok && len(data) < frameHeader+pageSize {
			break
		}
		if !ok {
			continue
		}
		fits := false
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			fits = fits || n > 1 && sumOf(order, sumOf(order, before, data[:8]), data[frameHeader:]) == storedSum(data[16:])
		}
		before = storedSum(data[16:])
		if !fits || salt != nil && !bytes.Equal(salt, data[8:16]) {
			continue
		}
		salt = append(salt[:0], data[8:16]...)
		w.loose = append(w.loose, frame{binary.BigEndian.Uint32(data), int32(n), at + frameHeader}) //nolint:gosec // a WAL has fewer frames
	}
	w.loose = lastOfEach(w.loose)
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

// sumOf goes on with the sum that frames carry.
func sumOf(order binary.ByteOrder, sum [2]uint32, data []byte) [2]uint32 {
	for ; len(data) >= 8; data = data[8:] {
		sum[0] += order.Uint32(data) + sum[1]
		sum[1] += order.Uint32(data[4:]) + sum[0]
	}
	return sum
}

func isPageSize(n int) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }
