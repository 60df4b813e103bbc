package salvage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

const (
	// sampleHeader is how long the header of a record of samples is: a byte for its
	// own length and one for the type of each column.
	sampleHeader = 8
	// leastFree is the least room between two cells that SQLite uses again.
	leastFree = 4
	// fillBytes is how many equal bytes are more than chance.
	fillBytes = 8
)

// dropBeforeBroken drops samples of a damaged page that lie directly before a
// broken cell, unless what follows them is intact: the damage may begin in the value
// of such a sample.
func (s *scanner) dropBeforeBroken() {
	starts := append(slices.Clone(s.cells), s.page.size)
	slices.Sort(starts)
	kept, spans := s.samples[:0], s.spans[:0]
	for i, one := range s.spans {
		n, _ := slices.BinarySearch(starts, one.end)
		rest := starts[min(n, len(starts)-1):] // from the next cell on
		intact := !slices.Contains(s.broken, rest[0]) || s.page.beginsFree(one.end, starts) || s.page.beginsFill(one.end) ||
			s.page.beginsSample(rest[0], rest[min(1, len(rest)-1)])
		for gap := 0; gap < leastFree && !intact; gap++ {
			intact = s.page.beginsSample(one.end+gap, rest[0])
		}
		if intact {
			kept, spans = append(kept, s.samples[i]), append(spans, one)
		}
	}
	s.samples, s.spans = kept, spans
}

// beginsSample says whether the bytes of a page between two places look like the
// beginning of a cell of samples: its length, the length of the record's header,
// and the types of the key. Two are enough if they are the lengths, and the first
// one leads to the end.
func (p page) beginsSample(at, end int) bool {
	if p.kind() == indexInterior {
		at += 4
	}
	if at+4 > len(p.data) {
		return len(p.data) < p.size // the page is cut off there, and intact before it
	}
	cell := p.data[at:]
	if left := end - at - 1 - int(cell[0]); cell[1] == sampleHeader && left >= 0 && left < leastFree {
		return true
	}
	alike := 0
	for _, fits := range []bool{
		cell[0] > 0 && cell[0] < 0x80,
		cell[1] == sampleHeader,
		cell[2] > 0 && cell[2] <= 6,
		cell[3] > 0 && cell[3] <= 3 || cell[3] == 9, // 9: series 1
	} {
		if fits {
			alike++
		}
	}
	return alike > 2
}

// beginsFree says whether the bytes at a place of a page look like unused ones: their
// number, after the place of the next ones, leads to the next cell.
func (p page) beginsFree(at int, starts []int) bool {
	if at+leastFree > len(p.data) {
		return false
	}
	size := int(binary.BigEndian.Uint16(p.data[at+2:]))
	_, found := slices.BinarySearch(starts, at+size)
	return size >= leastFree && (found || p.beginsSample(at+size, p.size))
}

// beginsFill says whether a run of equal bytes begins at a place of a page, or in the
// first bytes of the cell there. The damage is then, for example, a sector of zeros, and
// everything before the run is intact.
func (p page) beginsFill(at int) bool {
	for n := at; n < at+fillBytes && n+fillBytes <= len(p.data); n++ {
		if p.data[n-1] != p.data[n] && bytes.Count(p.data[n:n+fillBytes], p.data[n:n+1]) == fillBytes {
			return true
		}
	}
	return false
}

// keepRising keeps the longest run of samples whose keys are in order: a key that
// the damage changed is out of order. Of two runs that are as long, it keeps the one
// with fewer misplaced samples, then the one with fewer different times, then the one
// that is shorter in time.
func (s *scanner) keepRising() {
	all, misplaced := s.samples, s.misplaced()
	runs := make([]rising, len(all)) // the best that ends with each sample
	best := 0
	for i := range all {
		runs[i] = rising{before: -1, length: 1, misplaced: misplaced[i], times: 1, since: all[i].at}
		for j := range i {
			if r := &runs[j]; all[j].before(&all[i]) {
				longer := rising{j, r.length + 1, r.misplaced + misplaced[i], r.times, r.since, all[i].at - r.since}
				if all[i].at != all[j].at {
					longer.times++
				}
				if longer.isBetter(&runs[i]) {
					runs[i] = longer
				}
			}
		}
		if runs[i].isBetter(&runs[best]) {
			best = i
		}
	}
	kept := make([]sample, runs[best].length)
	for i := best; i >= 0; i = runs[i].before {
		kept[runs[i].length-1] = all[i]
	}
	s.samples = append(all[:0], kept...)
}

// A rising is a run of samples whose keys are in order.
type rising struct {
	before    int // the last sample but one; -1: there is none
	length    int
	misplaced int   // samples
	times     int   // different ones; the samples of a round have the same
	since     int64 // time of the first sample
	span      int64 // from there to the last one
}

func (r *rising) isBetter(other *rising) bool {
	return cmp.Or(cmp.Compare(r.length, other.length), cmp.Compare(other.misplaced, r.misplaced),
		cmp.Compare(other.times, r.times), cmp.Compare(other.span, r.span)) > 0
}

// misplaced returns 1 for each sample of an upper page that does not lie between
// those of the two pages below it that it separates, and 0 for the others.
func (s *scanner) misplaced() []int {
	are := make([]int, len(s.samples))
	if s.page.kind() != indexInterior {
		return are
	}
	for i, one := range s.samples {
		n := slices.Index(s.cells, s.spans[i].start)
		_, before, found := s.endsOf(s.below(n))
		after, _, also := s.endsOf(s.below(n + 1))
		if found && !before.before(&one) || also && !one.before(&after) {
			are[i] = 1
		}
	}
	return are
}

// below returns the number of the page to the left of a cell of an upper page; that
// of the page on the right comes after the last cell.
func (s *scanner) below(cell int) uint32 {
	if cell == len(s.cells) {
		return binary.BigEndian.Uint32(s.page.data[s.page.head()+treeHeader:])
	}
	if at := s.cells[cell]; at+4 <= len(s.page.data) {
		return binary.BigEndian.Uint32(s.page.data[at:])
	}
	return 0
}

// endsOf returns the first and the last sample of a page, if it has any.
func (s *scanner) endsOf(number uint32) (first, last sample, found bool) {
	if number < 2 || number >= s.pages.limit {
		return first, last, false
	}
	p, ok := s.pages.get(number, s.atEnd)
	if !ok {
		return first, last, false
	}
	other := scanner{pages: s.pages, atEnd: s.atEnd}
	other.load(p)
	for _, at := range other.cells {
		if t, _ := other.row(at); t == samplesTable {
			if last = other.sampleOf(); !found {
				first, found = last, true
			}
		}
	}
	return first, last, found
}
