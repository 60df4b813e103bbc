package salvage

import (
	"encoding/binary"
	"math"
)

const (
	// maxColumns is more than any of our tables has.
	maxColumns = 24
	// maxRecord is more than any of our rows takes, in bytes.
	maxRecord = 1 << 20
)

// varint reads a number of one to nine bytes and returns how many it has; 0: none.
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
	absent bool // it lies in another page
	n      int64
	f      float64
	b      []byte // of a text or blob
}

// A record is the columns of a row.
type record struct {
	columns int
	values  [maxColumns]value
}

// decode reads the columns of a record. data is its first part, length that of
// the whole record. It fails unless the lengths of the columns add up to it.
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
		var local []byte
		if body+size <= len(data) {
			local = data[body : body+size]
		}
		r.values[r.columns].decode(serial, local, size)
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

// decode reads one value; data is nil if it lies in another page.
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
