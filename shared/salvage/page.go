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
)

// A page is one page of a database, or as much as there is of it.
type page struct {
	number uint32
	usable int // bytes of a whole page that SQLite uses
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

// cells appends to into where the cells of the page begin: none if the header of
// the page makes no sense.
func (p page) cells(into []int) []int {
	kind := p.kind()
	if kind == 0 {
		return into
	}
	head := p.head()
	n, pointers := int(binary.BigEndian.Uint16(p.data[head+3:])), head+treeHeader
	if kind == indexInterior || kind == tableInterior {
		pointers += 4 // the page on the right
	}
	content := int(binary.BigEndian.Uint16(p.data[head+5:]))
	if content == 0 {
		content = 65536
	}
	if pointers+2*n > content || content > p.usable || pointers+2*n > len(p.data) {
		return into
	}
	for i := range n {
		into = append(into, int(binary.BigEndian.Uint16(p.data[pointers+2*i:])))
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
	if at < p.head()+treeHeader || at >= min(len(p.data), p.usable) {
		return c, false
	}
	data := p.data[at:min(len(p.data), p.usable)]
	most := (p.usable-12)*64/255 - 23
	switch kind {
	case indexInterior:
		if len(data) < 4 {
			return c, false
		}
		data = data[4:] // the number of the page on the left
	case indexLeaf:
	case tableLeaf:
		most = p.usable - 35
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
		least := (p.usable-12)*32/255 - 23
		if local = least + (c.length-least)%(p.usable-4); local > most {
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
	c.start, c.end = at, min(len(p.data), p.usable)-len(data)+local
	if c.next != 0 {
		c.end += 4
	}
	return c, local == c.length || c.next > 1
}
