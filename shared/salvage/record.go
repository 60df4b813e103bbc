package salvage

import (
	"encoding/binary"
	"math"
)

// The kinds of b-tree page. Format: sqlite.org/fileformat2.html, "B-tree Pages".
const (
	indexInterior = 2
	tableInterior = 5
	indexLeaf     = 10
	tableLeaf     = 13
)

const (
	// maxColumns is more than any table of ours has.
	maxColumns = 24
	// maxRecord is more than any row of ours takes.
	maxRecord = 1 << 20
)

// A page is one page of a database, or as much as there is of it.
type page struct {
	number uint32
	usable int // bytes of a whole page that SQLite uses
	data   []byte
}

// head is where the page's b-tree header is: the first page begins with that of
// the file.
func (p page) head() int {
	if p.number == 1 {
		return 100
	}
	return 0
}

// kind returns the kind of b-tree page that this is, 0 for none.
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

// cells returns how many cells the page has and where their pointers begin. It
// has none if its header makes no sense.
func (p page) cells() (n, at int) {
	kind := p.kind()
	if kind == 0 {
		return 0, 0
	}
	head := p.head()
	n, at = int(binary.BigEndian.Uint16(p.data[head+3:])), head+8
	if kind == indexInterior || kind == tableInterior {
		at += 4
	}
	content := int(binary.BigEndian.Uint16(p.data[head+5:]))
	if content == 0 {
		content = 65536
	}
	if at+2*n > content || content > p.usable || at+2*n > len(p.data) {
		return 0, 0
	}
	return n, at
}

// A cell is a record in a page, or the beginning of it.
type cell struct {
	start  int   // in the page
	end    int   // of the part in the page
	rowid  int64 // of a table with row numbers
	length int   // of the record
	local  []byte
	next   uint32 // page where the record goes on, 0: it is whole
}

// pointer returns where the i-th cell of a page begins.
func (p page) pointer(i, pointers int) int {
	return int(binary.BigEndian.Uint16(p.data[pointers+2*i:]))
}

// cell returns the i-th cell of a page that has records.
func (p page) cell(i, pointers int) (c cell, ok bool) {
	kind := p.data[p.head()]
	at := p.pointer(i, pointers)
	if at < pointers || at >= min(len(p.data), p.usable) {
		return c, false
	}
	data := p.data[at:min(len(p.data), p.usable)]
	most := (p.usable-12)*64/255 - 23
	switch kind {
	case indexInterior:
		if len(data) < 4 {
			return c, false
		}
		data = data[4:] // the page on the left
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

// varint reads a number of one to nine bytes, and returns how many; 0 for none.
func varint(data []byte) (v int64, n int) {
	var u uint64
	for n < len(data) && n < 8 {
		u = u<<7 | uint64(data[n]&0x7f)
		n++
		if data[n-1] < 0x80 {
			return int64(u), n //nolint:gosec // SQLite's numbers are signed
		}
	}
	if n < 8 || len(data) < 9 {
		return 0, 0
	}
	return int64(u<<8 | uint64(data[8])), 9 //nolint:gosec // SQLite's numbers are signed
}

// A kind is the type of a stored value.
type kind byte

const (
	null kind = 1 << iota
	whole
	float
	text
	blob
)

// A value is one column of a record.
type value struct {
	kind   kind
	absent bool // it is in a part of the record that is not at hand
	n      int64
	f      float64
	b      []byte // of a text or blob
}

// A record is the columns of a row: so many of values.
type record struct {
	columns int
	values  [maxColumns]value
}

// decode takes a record apart. data is its beginning, length that of the whole.
// A record whose parts do not come to its length exactly is none.
func (r *record) decode(data []byte, length int) bool {
	head, n := varint(data)
	if n == 0 || head < int64(n) || head > int64(len(data)) {
		return false
	}
	types := data[n:head]
	body := int(head)
	for r.columns = 0; len(types) > 0; r.columns++ {
		serial, n := varint(types)
		if n == 0 || r.columns == maxColumns {
			return false
		}
		types = types[n:]
		size, ok := serialSize(serial)
		if !ok || size > length-body {
			return false
		}
		var there []byte
		if body+size <= len(data) {
			there = data[body : body+size]
		}
		r.values[r.columns].decode(serial, there, size)
		body += size
	}
	return body == length && r.columns > 0
}

// serialSize is how many bytes a value of the serial type takes.
func serialSize(serial int64) (size int, ok bool) {
	switch {
	case serial >= 0 && serial <= 4:
		return int(serial), true
	case serial == 5:
		return 6, true
	case serial == 6 || serial == 7:
		return 8, true
	case serial == 8 || serial == 9:
		return 0, true
	case serial >= 12 && serial <= 2*maxRecord+13:
		return int(serial-12) / 2, true
	}
	return 0, false
}

// decode reads one value; data is nil if it is not at hand.
func (v *value) decode(serial int64, data []byte, size int) {
	*v = value{absent: size > 0 && data == nil}
	switch {
	case serial == 0:
		v.kind = null
	case serial == 8 || serial == 9:
		v.kind, v.n = whole, serial-8
	case serial == 7:
		v.kind = float
		if !v.absent {
			v.f = math.Float64frombits(binary.BigEndian.Uint64(data))
		}
	case serial <= 6:
		v.kind = whole
		if !v.absent {
			v.n = int64(int8(data[0])) //nolint:gosec // the sign is in it
			for _, b := range data[1:size] {
				v.n = v.n<<8 | int64(b)
			}
		}
	case serial%2 == 0:
		v.kind, v.b = blob, data
	default:
		v.kind, v.b = text, data
	}
}
