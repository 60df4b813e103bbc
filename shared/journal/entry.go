package journal

import (
	"errors"
	"io"
)

// stamp is the head of an entry.
type stamp struct {
	seqnum, realtime, monotonic uint64
	boot                        ID
}

func (j *File) stamp(offset uint64) (s stamp, size uint64, err error) {
	b, size, err := j.object(offset, typeEntry, entryBytes)
	if err != nil {
		return s, 0, err
	}
	s = stamp{seqnum: word(b, 16), realtime: word(b, 24), monotonic: word(b, 32)}
	copy(s.boot[:], b[40:])
	if s.seqnum < j.header.head || s.seqnum > j.header.tail {
		return s, 0, ErrDamaged
	}
	return s, size, nil
}

// entry reads the entry at an offset. Wanted is false for one that is not
// selected.
func (j *File) entry(offset uint64) (e Entry, wanted bool, err error) {
	s, size, err := j.stamp(offset)
	if err != nil {
		return e, false, err
	}
	e = Entry{Seqnum: s.seqnum, Realtime: s.realtime, Monotonic: s.monotonic, BootID: s.boot}
	each := j.header.entryItemBytes()
	n := (size - entryBytes) / each
	if n > maxItems {
		return e, false, ErrDamaged
	}
	b, err := j.bytes(offset, entryBytes+n*each)
	if err != nil {
		return e, false, err
	}
	var room [64]uint64 // b is good until the next read only
	items := room[:0]
	for i := range n {
		items = append(items, j.header.offset(b[entryBytes+i*each:]))
	}
	wanted = len(j.any) == 0
	var fields [32]Field
	found := fields[:0]
	for _, at := range items {
		v, ok := j.value(at)
		if !ok {
			continue
		}
		wanted = wanted || v.hit
		if v.wanted {
			found = append(found, v.field)
		}
	}
	if wanted {
		e.Fields = append(e.Fields, found...)
	}
	return e, wanted, nil
}

// array returns an entry array's offset of the next one and how many items it
// has room for.
func (j *File) array(offset uint64) (next, items uint64, err error) {
	b, size, err := j.object(offset, typeArray, arrayBytes)
	if err != nil {
		return 0, 0, err
	}
	// Arrays are appended to the file, so a chain that goes back has no end.
	if next = word(b, 16); next != 0 && next <= offset {
		return 0, 0, ErrDamaged
	}
	return next, (size - arrayBytes) / j.header.itemBytes(), nil
}

// item returns the offset of an array's entry, 0 where none is written yet.
func (j *File) item(array, index uint64) (uint64, error) {
	each := j.header.itemBytes()
	b, err := j.bytes(array+arrayBytes+index*each, each)
	if err != nil {
		return 0, err
	}
	return j.header.offset(b), nil
}

// step returns the offset of the next entry and moves behind it; io.EOF if there is none
// yet.
func (j *File) step() (uint64, error) {
	p := &j.next
	if p.seen >= j.header.entries {
		return 0, io.EOF
	}
	if p.array == 0 {
		p.array, p.index, p.items = j.header.array, 0, 0
	}
	for p.index >= p.items {
		next, items, err := j.array(p.array)
		if err != nil {
			return 0, err
		}
		if p.items = items; p.index < items {
			break
		}
		if next == 0 {
			return 0, io.EOF
		}
		p.array, p.index, p.items = next, 0, 0
	}
	at, err := j.item(p.array, p.index)
	if err != nil {
		return 0, err
	}
	if at == 0 {
		return 0, io.EOF
	}
	p.index++
	p.seen++
	return at, nil
}

// Next returns the next entry that is wanted, and how many entries it passed,
// itself included, at most limit. Without one it fails with io.EOF; after limit
// entries of which none was wanted, with errLimit. A broken entry is skipped and
// counted; a broken chain of entries is ErrDamaged.
func (j *File) Next(limit int) (e Entry, passed int, err error) {
	for passed < limit {
		at, err := j.step()
		if err != nil {
			return Entry{}, passed, err
		}
		passed++
		e, wanted, err := j.entry(at)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				return Entry{}, passed, err
			}
			j.Skipped.Damaged++
			continue
		}
		j.last, j.boot = max(j.last, e.Seqnum), e.BootID
		if wanted {
			return e, passed, nil
		}
	}
	return Entry{}, passed, errLimit
}

var errLimit = errors.New("enough entries for now")

// seek moves to the first entry for which after is true; it must be false for all entries
// before it. It returns the number of these.
func (j *File) seek(after func(stamp) bool) error {
	j.next = place{}
	array := j.header.array
	var seen uint64
	for seen < j.header.entries {
		next, items, err := j.array(array)
		if err != nil {
			return err
		}
		used := min(items, j.header.entries-seen)
		if used > 0 && (seen+used >= j.header.entries || next == 0 || j.holds(array, used-1, after)) {
			i, err := j.search(array, used, after)
			if err != nil {
				return err
			}
			j.next = place{array: array, index: i, seen: seen + i}
			return nil
		}
		if next == 0 {
			break
		}
		seen += used
		array = next
	}
	j.next = place{array: array, seen: seen}
	return nil
}

// holds says whether after is true for an item. It is true for an item that cannot be
// read, which the reading then skips.
func (j *File) holds(array, index uint64, after func(stamp) bool) bool {
	at, err := j.item(array, index)
	if err != nil || at == 0 {
		return true
	}
	s, _, err := j.stamp(at)
	return err != nil || after(s)
}

// search returns the first of n items of an array for which after is true, n
// where it is for none.
func (j *File) search(array, n uint64, after func(stamp) bool) (uint64, error) {
	low, high := uint64(0), n
	for low < high {
		middle := low + (high-low)/2
		if j.holds(array, middle, after) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}

// skipWhile skips entries while skip is true. It does not search, because the times of
// entries need not be in order.
func (j *File) skipWhile(skip func(stamp) bool) (n uint64, err error) {
	for {
		was := j.next
		at, err := j.step()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		s, _, err := j.stamp(at)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return n, err
		}
		if err == nil && !skip(s) {
			j.next = was
			return n, nil
		}
		n++
	}
}

// before is the number before that of the next entry; the last one's at the end.
func (j *File) before() uint64 {
	was := j.next
	defer func() { j.next = was }()
	at, err := j.step()
	if err != nil {
		return j.header.tail
	}
	s, _, err := j.stamp(at)
	if err != nil {
		return j.header.head
	}
	return s.seqnum - 1
}
