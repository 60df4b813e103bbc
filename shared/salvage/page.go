package salvage

import (
	"encoding/binary"
)

// The kinds of b-tree page. Format: sqlite.org/fileformat2.html, "B-tree Pages".
const (
	indexInterior = 2
	tableInterior = 5
	indexLeaf     = 10
	tableLeaf     = 13

	treeHeader = 8 // bytes
	leastCell  = 6 // bytes that a cell takes, with its place in the list
)

// A page is one page of a database, or as much as there is of it.
type page struct {
	number uint32
	size   int // of a whole page: a power of two
	data   []byte
}

// head is where the header of the b-tree page begins: in the first page, the
// header of the file comes before it.
func (p page) head() int {
	if p.number == 1 {
		return fileHeader
	}
	return 0
}

// kind returns the kind of b-tree page, 0 for any other page.
func (p page) kind() byte {
	if len(p.data) < p.head()+12 {
		return 0
	}
	switch k := p.data[p.head()]; k {
	case indexInterior, tableInterior, indexLeaf, tableLeaf:
		return k
	}
	return 0
}

// header returns where the list of the places of the cells begins, and how many there
// are. sound says whether that agrees with where the header says that they lie.
func (p page) header() (list, cells int, sound bool) {
	head := p.head()
	list, cells = head+treeHeader, int(binary.BigEndian.Uint16(p.data[head+3:]))
	if kind := p.kind(); kind == indexInterior || kind == tableInterior {
		list += 4 // the page on the right
	}
	content := int(binary.BigEndian.Uint16(p.data[head+5:]))
	if content == 0 {
		content = 65536
	}
	end := list + 2*cells
	return list, cells, end <= content && content <= p.size && end <= len(p.data)
}

// cells appends to into where the cells of the page begin, none if the header has
// more than fit. If it is not sound, some places may be those of no cell. Of a
// place, only the bits that a place in the page can have count, as in SQLite: a cell
// is found although a higher bit flipped.
func (p page) cells(into []int) []int {
	if p.kind() == 0 {
		return into
	}
	list, n, _ := p.header()
	if n > (p.size-treeHeader)/leastCell {
		return into
	}
	for at := list; n > 0 && at+2 <= len(p.data); n, at = n-1, at+2 {
		into = append(into, int(binary.BigEndian.Uint16(p.data[at:]))&(p.size-1))
	}
	return into
}

// A cell is a record in a page, or its first part.
type cell struct {
	start  int    // in the page
	end    int    // in the page
	rowid  int64  // of a table with row numbers
	length int    // of the record
	local  []byte // what is in this page of it
	next   uint32 // page in which the record continues, 0: none
}

// cell returns the cell at a place of a page that has records.
func (p page) cell(at int) (c cell, ok bool) {
	kind := p.data[p.head()]
	if at < p.head()+treeHeader || at >= min(len(p.data), p.size) {
		return c, false
	}
	data := p.data[at:min(len(p.data), p.size)]
	most := (p.size-12)*64/255 - 23
	switch kind {
	case indexInterior:
		if len(data) < 4 {
			return c, false
		}
		data = data[4:] // the number of the page on the left
	case indexLeaf:
	case tableLeaf:
		most = p.size - 35
	default:
		return c, false
	}
	length, n := varint(data)
	if n == 0 || length < 1 || length > maxRecord {
		return c, false
	}
	data = data[n:]
	if kind == tableLeaf {
		if c.rowid, n = varint(data); n == 0 {
			return c, false
		}
		data = data[n:]
	}
	c.length = int(length)
	local := c.length
	if local > most {
		least := (p.size-12)*32/255 - 23
		if local = least + (c.length-least)%(p.size-4); local > most {
			local = least
		}
		if len(data) < local+4 {
			return c, false
		}
		c.next = binary.BigEndian.Uint32(data[local:])
	}
	if len(data) < local {
		return c, false
	}
	c.local = data[:local]
	c.start, c.end = at, min(len(p.data), p.size)-len(data)+local
	if c.next != 0 {
		c.end += 4
	}
	return c, local == c.length || c.next > 1
}
