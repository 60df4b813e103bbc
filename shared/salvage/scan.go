package salvage

import (
	"encoding/binary"
	"math"
	"slices"
)

// A sample is a row of samples.
type sample struct {
	at       int64
	session  int64 // or noSession
	number   int64 // the value, or the bits of one that is no whole number
	text     *string
	series   int32
	kind     kind // of the value
	state    int8
	priority int8
}

const noSession = math.MinInt64

// before says whether the key of a sample is before that of another.
func (s *sample) before(o *sample) bool {
	return s.at < o.at || s.at == o.at && s.series < o.series
}

// A scanner takes the rows out of pages.
type scanner struct {
	pages   *pages
	atEnd   bool // the page is of the end of the WAL
	rec     record
	copy    []byte  // of the page: reading another overwrites it
	chain   []byte  // a record that goes on in other pages
	used    [2]bits // pages in which records go on: each has one; as committed, and at the end of the WAL
	samples []sample
	spans   []span  // where the samples are in the page
	starts  []int   // see followed
	tails   []int32 // see rising
	at      span    // of the record that was read last
	broken  []int   // cells of the page that are no records
}

// begin forgets which pages records go on in.
func (s *scanner) begin() {
	s.used = [2]bits{newBits(s.pages.limit), newBits(s.pages.limit)}
}

// load takes over a page and says how many cells it may have.
func (s *scanner) load(p page) (page, int, int) {
	s.copy = append(s.copy[:0], p.data...)
	p.data, s.broken = s.copy, s.broken[:0]
	n, pointers := p.cells()
	if p.kind() == tableInterior {
		return p, 0, 0 // no rows are in it
	}
	return p, n, pointers
}

// A span is where a record is in its page.
type span struct{ start, end int }

// row reads the i-th cell of a page as a row. It returns no table for a record
// that is none of our rows, and counts what is no record.
func (s *scanner) row(p page, i, pointers int) (t *table, rowid int64) {
	c, ok := p.cell(i, pointers)
	s.at = span{c.start, c.end}
	if !ok || !s.rec.decode(c.local, c.length) {
		s.broken = append(s.broken, p.pointer(i, pointers))
		return nil, 0
	}
	rows := p.kind() == tableLeaf
	if t = tableOf(&s.rec, rows, c.next == 0); t == nil || c.next == 0 {
		return t, c.rowid
	}
	if !s.follow(c) || !s.rec.decode(s.chain, c.length) {
		s.broken = append(s.broken, c.start)
		return nil, 0
	}
	return tableOf(&s.rec, rows, true), c.rowid
}

// follow gathers a record that goes on in other pages. A page has one record, so
// that no chain leads round in a circle.
func (s *scanner) follow(c cell) bool {
	s.chain = append(s.chain[:0], c.local...)
	read, used := s.pages.get, s.used[0]
	if s.atEnd {
		read, used = s.pages.newest, s.used[1]
	}
	for next := c.next; len(s.chain) < c.length; {
		if next < 2 || next >= s.pages.limit || !used.add(next) {
			return false
		}
		one, ok := read(next)
		want := min(c.length-len(s.chain), s.pages.usable-4)
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

// readSamples returns the samples of a page. In a page that is damaged one may
// look like a row and be none; keep then says which are likely. They hold until
// the next page.
func (s *scanner) readSamples(p page, keep func(*sample) bool) []sample {
	p, cells, pointers := s.load(p)
	s.samples, s.spans = s.samples[:0], s.spans[:0]
	sorted := true
	for i := range cells {
		t, _ := s.row(p, i, pointers)
		if t != samplesTable {
			continue
		}
		s.samples, s.spans = append(s.samples, s.sampleOf()), append(s.spans, s.at)
		if n := len(s.samples); n > 1 && !s.samples[n-2].before(&s.samples[n-1]) {
			sorted = false
		}
	}
	if len(s.broken) > 0 {
		s.followed(p)
	}
	if !sorted {
		s.rising()
	}
	if len(s.broken) > 0 || !sorted {
		s.samples = slices.DeleteFunc(s.samples, func(one sample) bool { return !keep(&one) })
	}
	return s.samples
}

// followed drops the samples of a damaged page that come right before a broken
// one of which not even the beginning is there: what destroyed that may have begun
// in the value of this.
func (s *scanner) followed(p page) {
	s.starts = append(s.starts[:0], p.usable)
	for _, one := range s.spans {
		s.starts = append(s.starts, one.start)
	}
	slices.Sort(s.starts)
	kept := 0
	for i, one := range s.spans {
		next, found := slices.BinarySearch(s.starts, one.end)
		broken := !found && next < len(s.starts) && slices.ContainsFunc(s.broken, func(at int) bool { return at >= one.end && at < s.starts[next] })
		if !broken || p.beginsSample(one.end) {
			s.samples[kept] = s.samples[i]
			kept++
		}
	}
	s.samples = s.samples[:kept]
}

// beginsSample says whether something like a cell of samples begins at a place of
// the page: its length, that of its record's header, and the types of its key.
func (p page) beginsSample(at int) bool {
	if p.kind() == indexInterior {
		at += 4
	}
	if at+4 > len(p.data) {
		return len(p.data) < p.usable // it is cut off there, and nothing before is changed
	}
	alike := 0
	for i, most := range []byte{0x7f, byte(len(samplesTable.columns) + 1), 6, 4} {
		if b := p.data[at+i]; b > 0 && b <= most && (i != 1 || b == most) {
			alike++
		}
	}
	return alike > 2
}

// rising keeps the most samples of a page whose keys are in order: a key that
// was changed is out of it.
func (s *scanner) rising() {
	all := s.samples
	before := make([]int32, len(all)) // the one that comes before each, -1: none
	s.tails = s.tails[:0]             // the last of the best row of each length
	for i := range all {
		low, high := 0, len(s.tails)
		for low < high {
			if middle := (low + high) / 2; all[s.tails[middle]].before(&all[i]) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		before[i] = -1
		if low > 0 {
			before[i] = s.tails[low-1]
		}
		if low == len(s.tails) {
			s.tails = append(s.tails, 0)
		}
		s.tails[low] = int32(i) //nolint:gosec // within a page
	}
	for i, at := len(s.tails)-1, s.tails[len(s.tails)-1]; i >= 0; i, at = i-1, before[at] {
		s.tails[i] = at
	}
	for i, at := range s.tails {
		all[i] = all[at]
	}
	s.samples = all[:len(s.tails)]
}
