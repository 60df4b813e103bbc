package salvage

import (
	"bytes"
	"encoding/binary"
	mathbits "math/bits"
)

const (
	fileHeader = 100
	// pendingByte is where SQLite locks: the page there has nothing in it.
	pendingByte = 1 << 30
	// guessPages bounds the pages that are looked at to find out how long one is.
	guessPages = 500
)

var fileMagic = []byte("SQLite format 3\x00")

// Pages are the pages of a damaged database: those of its file, and over them
// those of its WAL.
type pages struct {
	file, log *device
	wal       *wal
	size      int    // of a page
	usable    int    // bytes of it that SQLite uses
	count     uint32 // of the database as it was last committed
	limit     uint32 // above the number of any page
	mapped    bool   // there is a pointer map
	free      bits   // pages in the free list
	listed    bool   // the free list is whole
	unread    bits   // pages that the device cannot read

	mapAt   uint32 // page of the pointer map that was read last
	mapPage []byte
	mapNew  bool // it is that of the end of the WAL
}

// bits are a set of small numbers.
type bits []uint64

func newBits(n uint32) bits { return make(bits, n/64+1) }

func (b bits) has(n uint32) bool { return int(n/64) < len(b) && b[n/64]>>(n%64)&1 == 1 }

// add puts a number in and says whether it is new.
func (b bits) add(n uint32) bool {
	if int(n/64) >= len(b) || b.has(n) {
		return false
	}
	b[n/64] |= 1 << (n % 64)
	return true
}

func (b bits) count() (n int64) {
	for _, word := range b {
		n += int64(mathbits.OnesCount64(word))
	}
	return n
}

// newPages finds out where the pages of a database and its WAL are.
func newPages(file, log *device) *pages {
	p := &pages{file: file, log: log}
	p.wal = readWAL(log)
	if p.size = p.wal.pageSize; p.size == 0 {
		p.size = guessSize(file)
	}
	if p.wal.broken && p.wal.pageSize == 0 {
		p.size = p.readLoose()
	}
	if p.size == 0 {
		p.size = 1024
	}
	w, size := p.wal, int64(p.size)
	// Every page of the database is in one of them.
	inFile := uint32(min((file.size+size-1)/size, 1<<31)) //nolint:gosec // 2^31 at most
	p.limit = inFile + uint32(len(w.good)+len(w.behind)+len(w.loose)) + 1024
	p.count = inFile
	if w.pages > 0 {
		p.count = min(w.pages, p.limit)
	}
	p.usable = p.size
	p.unread = newBits(p.limit)
	if first, ok := p.get(1); ok {
		p.readFirst(first)
	}
	if !p.mapped {
		p.mapped = p.seemsMapped()
	}
	return p
}

// readLoose reads a WAL that has lost its header. If nothing is known of the length
// of its pages, it is that at which the most frames fit together.
func (p *pages) readLoose() (best int) {
	if p.size != 0 {
		p.wal.readLoose(p.log, p.size)
		return p.size
	}
	var most []frame
	for size := 512; size <= 65536; size *= 2 {
		p.wal.loose = nil
		if p.wal.readLoose(p.log, size); len(p.wal.loose) > len(most) {
			best, most = size, p.wal.loose
		}
	}
	p.wal.loose = most
	return best
}

// readFirst takes from the first page what it says of the others.
func (p *pages) readFirst(first page) {
	head := first.data
	if len(head) < fileHeader || !bytes.Equal(head[:16], fileMagic) || sizeIn(head) != p.size || first.kind() != tableLeaf && first.kind() != tableInterior {
		return
	}
	if reserved := int(head[20]); p.size-reserved >= 480 {
		p.usable = p.size - reserved
	}
	p.mapped = binary.BigEndian.Uint32(head[52:]) != 0
	p.readFreeList(binary.BigEndian.Uint32(head[32:]), binary.BigEndian.Uint32(head[36:]))
}

func sizeIn(head []byte) int {
	if size := int(binary.BigEndian.Uint16(head[16:])); size != 1 {
		return size
	}
	return 65536
}

// readFreeList follows the list of pages that are not in use, as far as it makes
// sense. Format: sqlite.org/fileformat2.html, "The Freelist".
func (p *pages) readFreeList(trunk, length uint32) {
	p.free = newBits(p.limit)
	listed := uint32(0)
	for trunk > 1 && trunk < p.limit {
		one, ok := p.get(trunk)
		if !ok || len(one.data) < p.usable || !p.free.add(trunk) {
			return
		}
		next, n := binary.BigEndian.Uint32(one.data), int(binary.BigEndian.Uint32(one.data[4:8]))
		if n > p.usable/4-2 || next >= p.limit {
			return
		}
		leaves := make([]uint32, n)
		for i := range leaves {
			if leaves[i] = binary.BigEndian.Uint32(one.data[8+4*i:]); leaves[i] < 2 || leaves[i] >= p.limit {
				return
			}
		}
		for _, leaf := range leaves {
			if !p.free.add(leaf) {
				return
			}
		}
		trunk, listed = next, listed+1+uint32(n) //nolint:gosec // within a page
	}
	p.listed = trunk == 0 && listed == length
}

// get returns a page as it was last committed. Its data hold until the next.
func (p *pages) get(number uint32) (page, bool) {
	if f, found := find(p.wal.good, number); found {
		if data, ok := p.log.read(f.at, p.size); ok {
			return page{number, p.usable, data}, true
		}
		p.unread.add(number)
	}
	data, ok := p.file.read(int64(number-1)*int64(p.size), p.size)
	if !ok {
		p.unread.add(number)
		return page{number: number}, false
	}
	return page{number, p.usable, data}, len(data) > 0
}

// newest returns a page as it was at the end of the WAL, broken or not.
func (p *pages) newest(number uint32) (page, bool) {
	for _, frames := range [][]frame{p.wal.behind, p.wal.loose} {
		if f, found := find(frames, number); found {
			if data, ok := p.log.read(f.at, p.size); ok {
				return page{number, p.usable, data}, true
			}
		}
	}
	return p.get(number)
}

// What the pointer map says of a page. Format: sqlite.org/fileformat2.html,
// "Pointer Map or Ptrmap Pages".
const (
	mapUnknown  = 0
	mapRoot     = 1
	mapFree     = 2
	mapOverflow = 3 // the first of a chain
	mapChain    = 4
	mapTree     = 5
)

// mapOf returns the page of the pointer map that tells of a page; itself for one
// of the map.
func (p *pages) mapOf(number uint32) uint32 {
	if number < 2 {
		return 0
	}
	each := uint32(p.usable/5 + 1) //nolint:gosec // at most 65536
	at := (number-2)/each*each + 2
	if at == uint32(pendingByte/p.size+1) { //nolint:gosec // at least 512
		at++
	}
	return at
}

// use returns what the pointer map says of a page: as it was last committed, or
// at the end of the WAL.
func (p *pages) use(number uint32, atEnd bool) byte {
	at := p.mapOf(number)
	if !p.mapped || at == 0 || at >= number {
		return mapUnknown
	}
	if at != p.mapAt || atEnd != p.mapNew {
		read := p.get
		if atEnd {
			read = p.newest
		}
		one, _ := read(at)
		p.mapAt, p.mapNew, p.mapPage = at, atEnd, append(p.mapPage[:0], one.data...)
	}
	begin := int(number-at-1) * 5
	if begin+5 > len(p.mapPage) {
		return mapUnknown
	}
	return entry(p.mapPage[begin:], p.limit)
}

// entry reads an entry of the pointer map: whose a page is, and where that is.
func entry(data []byte, limit uint32) byte {
	use, parent := data[0], binary.BigEndian.Uint32(data[1:])
	switch use {
	case mapRoot, mapFree:
		if parent == 0 {
			return use
		}
	case mapOverflow, mapChain, mapTree:
		if parent > 0 && parent < limit {
			return use
		}
	}
	return mapUnknown
}

// seemsMapped says whether the pages that would be those of a pointer map look
// like it.
func (p *pages) seemsMapped() bool {
	each := uint32(p.usable/5 + 1) //nolint:gosec // at most 65536
	like, unlike := 0, 0
	for at := uint32(2); at < p.count && like+unlike < guessPages; at += each {
		one, ok := p.get(at)
		if !ok || len(one.data) < 5 || len(bytes.Trim(one.data[:5], "\x00")) == 0 {
			continue
		}
		good, all := 0, 0
		for i := 0; i+5 <= len(one.data) && at+uint32(i/5)+1 <= p.count; i += 5 { //nolint:gosec // within a page
			all++
			if entry(one.data[i:], p.limit) != mapUnknown {
				good++
			}
		}
		if good*10 >= all*9 {
			like++
		} else {
			unlike++
		}
	}
	return like > unlike
}

// isFree says whether a page is known not to be in use: by the free list if that
// is whole, by the pointer map otherwise.
func (p *pages) isFree(number uint32, atEnd bool) bool {
	if p.listed && !atEnd {
		return p.free.has(number)
	}
	switch p.use(number, atEnd) {
	case mapFree:
		return true
	case mapUnknown:
		return !atEnd && p.free.has(number)
	}
	return false
}

// guessSize finds out how long the pages of a file are that may have lost its
// first: that length at which most pages make sense.
func guessSize(d *device) (best int) {
	if head, ok := d.read(0, fileHeader); ok && len(head) == fileHeader && bytes.Equal(head[:16], fileMagic) {
		best = sizeIn(head)
	}
	most := 0
	if isPageSize(best) {
		most = treePages(d, best)
	} else {
		best = 0
	}
	for size := 512; size <= 65536; size *= 2 {
		if n := treePages(d, size); n > most {
			best, most = size, n
		}
	}
	return best
}

// treePages is about how many pages of a file make sense as those of a table.
func treePages(d *device, size int) (n int) {
	step := max(1, d.size/int64(size)/guessPages)
	for at := int64(0); at < d.size; at += step * int64(size) {
		data, _ := d.read(at, size)
		one := page{number: uint32(at/int64(size) + 1), usable: size, data: data} //nolint:gosec // only the first matters
		cells, pointers := one.cells()
		if cells == 0 {
			continue
		}
		good := one.kind() == tableInterior
		for i := 0; !good && i < cells; i++ {
			_, good = one.cell(i, pointers)
			if !good {
				break
			}
			good = i == cells-1
		}
		if good {
			n += int(step)
		}
	}
	return n
}
