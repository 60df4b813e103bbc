package journal

import (
	"strings"
)

// object returns the head of an object of a type, n bytes of it, and its size.
func (j *File) object(offset uint64, kind byte, n uint64) (b []byte, size uint64, err error) {
	if offset%8 != 0 {
		return nil, 0, ErrDamaged
	}
	if b, err = j.bytes(offset, n); err != nil {
		return nil, 0, err
	}
	if size = word(b, 8); b[0] != kind || size < n || size > maxOffset {
		return nil, 0, ErrDamaged
	}
	return b, size, nil
}

// value reads a data object. Ok is false for one that is compressed, too long or
// broken, which is counted.
func (j *File) value(offset uint64) (v value, ok bool) {
	if v, ok := j.known[offset]; ok {
		return v, true
	}
	head := j.header.payloadAt()
	b, size, err := j.object(offset, typeData, head)
	if err != nil {
		j.Skipped.Damaged++
		return v, false
	}
	if b[1]&compressed != 0 {
		j.Skipped.Compressed++
		return v, false
	}
	if size-head > maxValue {
		j.Skipped.Long++
		return v, false
	}
	shared := word(b, 56) > 1 // by several entries
	if b, err = j.bytes(offset, size); err != nil {
		j.Skipped.Damaged++
		return v, false
	}
	payload := b[head:]
	name, text, found := strings.Cut(string(payload), "=")
	if !found || name == "" {
		j.Skipped.Damaged++
		return v, false
	}
	v.wanted = len(j.fields) == 0 || j.fields[name]
	v.hit = j.any[string(payload)]
	if v.wanted {
		v.field = Field{name, text}
	}
	if shared {
		if len(j.known) >= maxKnown {
			clear(j.known)
		}
		j.known[offset] = v
	}
	return v, true
}

// value is a data object.
type value struct {
	field  Field
	wanted bool // its field is returned
	hit    bool // it makes its entry a wanted one
}
