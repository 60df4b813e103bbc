package salvage

import (
	"bytes"
	"encoding/binary"
)

const (
	// pendingByte is where SQLite locks the file: its page is never used.
	pendingByte = 1 << 30
	// guessPages bounds the pages that are read to guess how a file is laid out.
	guessPages = 500
)

// readFreeList follows the list of unused pages until it makes no sense. Format:
// sqlite.org/fileformat2.html, "The Freelist".
func (p *pages) readFreeList(trunk, length uint32) {
	p.free = newBits(p.limit)
	listed := uint32(0)
	for trunk > 1 && trunk < p.limit {
		one, ok := p.get(trunk, false)
		if !ok || len(one.data) < p.size || !p.free.add(trunk) {
			return
		}
		next, n := binary.BigEndian.Uint32(one.data), int(binary.BigEndian.Uint32(one.data[4:8]))
		if n > p.size/4-2 || next >= p.limit {
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

// What the pointer map says of a page. Format: sqlite.org/fileformat2.html,
// "Pointer Map or Ptrmap Pages".
const (
	mapUnknown  = 0
	mapRoot     = 1
	mapFree     = 2
	mapOverflow = 3 // the first of a chain
	mapChain    = 4
	mapTree     = 5

	mapEntry = 5 // bytes
)

// A mapPage is the page of the pointer map that was read last.
type mapPage struct {
	number uint32
	atEnd  bool // as of the end of the WAL
	data   []byte
}

// perMap is how many pages one page of the pointer map describes, itself included.
func (p *pages) perMap() uint32 { return uint32(p.size/mapEntry + 1) } //nolint:gosec // at most 65536

// mapOf returns the page of the pointer map that describes a page; a page of the
// map is its own.
func (p *pages) mapOf(number uint32) uint32 {
	if number < 2 {
		return 0
	}
	at := (number-2)/p.perMap()*p.perMap() + 2
	if at == uint32(pendingByte/p.size+1) { //nolint:gosec // at least 512
		at++
	}
	return at
}

// isMap says whether a page is one of the pointer map.
func (p *pages) isMap(number uint32) bool { return p.mapped && p.mapOf(number) == number }

// use returns what the pointer map says of a page, as of the last good commit or
// of the end of the WAL.
func (p *pages) use(number uint32, atEnd bool) byte {
	at := p.mapOf(number)
	if !p.mapped || at == 0 || at >= number {
		return mapUnknown
	}
	if at != p.last.number || atEnd != p.last.atEnd {
		one, _ := p.get(at, atEnd)
		p.last = mapPage{at, atEnd, append(p.last.data[:0], one.data...)}
	}
	begin := int(number-at-1) * mapEntry
	if begin+mapEntry > len(p.last.data) {
		return mapUnknown
	}
	return useIn(p.last.data[begin:], p.limit)
}

// useIn reads an entry of the pointer map: the use of a page and its parent.
func useIn(entry []byte, limit uint32) byte {
	use, parent := entry[0], binary.BigEndian.Uint32(entry[1:])
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

// seemsMapped guesses whether a file that lost its first page has a pointer map:
// whether the pages at the places of the map look like it.
func (p *pages) seemsMapped() bool {
	like, unlike := 0, 0
	for at := uint32(2); at < p.count && like+unlike < guessPages; at += p.perMap() {
		one, ok := p.get(at, false)
		if !ok || len(one.data) < mapEntry || len(bytes.Trim(one.data[:mapEntry], "\x00")) == 0 {
			continue
		}
		good, all := 0, 0
		for i := 0; i+mapEntry <= len(one.data) && at+uint32(i/mapEntry)+1 <= p.count; i += mapEntry { //nolint:gosec // within a page
			all++
			if useIn(one.data[i:], p.limit) != mapUnknown {
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

// isFree says whether a page is unused: by the free list if that is complete,
// otherwise by the pointer map.
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
