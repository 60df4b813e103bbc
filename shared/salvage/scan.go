package salvage

import (
	"encoding/binary"
	"math"
	"slices"
)

// A scanner reads the rows of one page after another.
type scanner struct {
	pages   *pages
	page    page  // with a copy of its data: the device's buffer changes with the next read
	cells   []int // where they begin in the page
	atEnd   bool  // the page is as of the end of the WAL
	rec     record
	span    span   // of the record that was read last
	chain   []byte // a record that continues in other pages
	samples []sample
	spans   []span // of the samples
	broken  []int  // where cells are that are no records
}

// A span is where a record lies in its page.
type span struct{ start, end int }

// load makes a page the one that is read.
func (s *scanner) load(p page) {
	p.data = append(s.page.data[:0], p.data...)
	s.page, s.cells, s.broken = p, s.cells[:0], s.broken[:0]
	if p.kind() == 0 || p.kind() == tableInterior { // which has no rows
		return
	}
	s.cells = p.cells(s.cells)
	if list, _, sound := p.header(); !sound {
		s.endList(list)
	}
}

// endList ends the list of places of a page with a damaged header where the first of
// its rows begins: further places may be those of deleted rows.
func (s *scanner) endList(list int) {
	end := s.page.size
	for i, at := range s.cells {
		if list+2*(i+1) > end {
			s.cells = s.cells[:i]
			break
		}
		if t, _ := s.row(at); t != nil {
			end = min(end, at)
		}
	}
	s.broken = s.broken[:0]
}

// row reads the cell at a place of the page as a row. It returns no table for a
// record that fits none, and notes a cell that is no record as broken.
func (s *scanner) row(at int) (t *table, rowid int64) {
	c, ok := s.page.cell(at)
	s.span = span{c.start, c.end}
	if !ok || !s.rec.decode(c.local, c.length) {
		s.broken = append(s.broken, at)
		return nil, 0
	}
	rows := s.page.kind() == tableLeaf
	if t = tableOf(&s.rec, rows, c.next == 0); t == nil || c.next == 0 {
		return t, c.rowid
	}
	if !s.follow(c) || !s.rec.decode(s.chain, c.length) {
		s.broken = append(s.broken, at)
		return nil, 0
	}
	return tableOf(&s.rec, rows, true), c.rowid
}

// follow gathers a record that continues in other pages. Its length, which is at
// most maxRecord, also ends a chain that leads in a circle.
func (s *scanner) follow(c cell) bool {
	s.chain = append(s.chain[:0], c.local...)
	for next := c.next; len(s.chain) < c.length; {
		if next < 2 || next >= s.pages.limit {
			return false
		}
		one, ok := s.pages.get(next, s.atEnd)
		want := min(c.length-len(s.chain), s.pages.size-4)
		if !ok || len(one.data) < 4+want {
			return false
		}
		next = binary.BigEndian.Uint32(one.data)
		s.chain = append(s.chain, one.data[4:4+want]...)
	}
	return true
}

// sampleOf returns the sample in the record that was read last.
func (s *scanner) sampleOf() sample {
	v := &s.rec.values
	one := sample{
		at: v[0].n, series: int32(v[1].n), kind: v[2].kind, number: v[2].n, //nolint:gosec // within bounds
		session: noSession, state: int8(v[5].n), priority: int8(v[6].n), //nolint:gosec // within bounds
	}
	if v[2].kind == float {
		one.number = int64(math.Float64bits(v[2].f)) //nolint:gosec // the bits
	}
	if v[3].kind == text {
		words := string(v[3].b)
		one.text = &words
	}
	if v[4].kind == whole {
		one.session = v[4].n
	}
	return one
}

// readSamples returns the samples of a page; they are valid until the next call.
// In a damaged page a sample may have another value or key than it had: those that
// are in doubt are left out, and those that are not likely.
func (s *scanner) readSamples(p page, likely func(*sample) bool) []sample {
	s.load(p)
	s.samples, s.spans = s.samples[:0], s.spans[:0]
	for _, at := range s.cells {
		if t, _ := s.row(at); t == samplesTable {
			s.samples, s.spans = append(s.samples, s.sampleOf()), append(s.spans, s.span)
		}
	}
	damaged := len(s.broken) > 0
	if damaged {
		s.dropBeforeBroken()
	}
	if !s.inOrder() {
		damaged = true
		s.keepRising()
	}
	if damaged {
		s.samples = slices.DeleteFunc(s.samples, func(one sample) bool { return !likely(&one) })
	}
	return s.samples
}

// inOrder says whether the keys of the samples rise.
func (s *scanner) inOrder() bool {
	for i := 1; i < len(s.samples); i++ {
		if !s.samples[i-1].before(&s.samples[i]) {
			return false
		}
	}
	return true
}
