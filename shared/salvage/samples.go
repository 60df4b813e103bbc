package salvage

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

const (
	// chunkBytes is how much of the old file is copied in one transaction.
	chunkBytes = 256 << 10
	// maxUnnamed bounds the series whose names are lost and whose samples are kept.
	maxUnnamed = 1 << 12
	// noSession is the session of a sample that has none.
	noSession = math.MinInt64
)

// A sample is a row of the table samples.
type sample struct {
	at       int64
	session  int64 // or noSession
	number   int64 // the value if it is an integer, the bits of the value otherwise
	text     *string
	series   int32
	kind     kind // of the value
	state    int8
	priority int8
}

// byKey compares two samples by their key.
func byKey(a, b sample) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series, b.series))
}

// before says whether the key of s is lower than that of o.
func (s *sample) before(o *sample) bool {
	return s.at < o.at || s.at == o.at && s.series < o.series
}

// samples copies the samples chunk by chunk. SQLite takes half as much time again
// when the newest rows come first. So the oldest pages are copied first while
// there is plenty of room and time; after that, the newest of the pages that are
// left.
func (s *salvage) samples() error {
	into, err := newSampleWriter(s.into)
	if err != nil {
		return err
	}
	order := s.found.order
	slices.Sort(order)
	perChunk := max(1, chunkBytes/s.pages.size)
	ample := true
	for len(order) > 0 && !s.halt() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n := min(perChunk, len(order))
		chunk := order[:n]
		if ample = ample && s.ample(len(order)); ample {
			order = order[n:]
		} else {
			chunk, order = order[len(order)-n:], order[:len(order)-n]
		}
		err := s.into.transact(func() error { return s.copyChunk(chunk, into) })
		if err := s.unlessFull(err); err != nil {
			return err
		}
	}
	s.written = into.written
	return nil
}

// ample says whether there is plenty of room and time to copy this many pages.
func (s *salvage) ample(pages int) bool {
	if !s.until.IsZero() && time.Until(s.until) < s.known.Limit*3/4 {
		return false
	}
	free, err := hostfs.FreeBytes(s.to)
	return err == nil && free/2 > s.known.KeepFree+int64(pages)*int64(s.pages.size)
}

// A chunkPage is a page of a chunk.
type chunkPage struct {
	key        uint64 // in survey.order
	page       page
	begin, end int // of its data in salvage.chunk
	atEnd      bool
}

// copyChunk copies the samples of some pages: they are read in the order in which
// they lie in the file and written in the order of their times.
func (s *salvage) copyChunk(chunk []uint64, into *sampleWriter) error {
	slices.SortFunc(chunk, func(a, b uint64) int { return cmp.Compare(uint32(a), uint32(b)) }) //nolint:gosec // the number of the page
	s.chunk = s.chunk[:0]
	all := make([]chunkPage, 0, len(chunk))
	for _, key := range chunk {
		one, atEnd, ok := s.pageAt(uint32(key)) //nolint:gosec // the number of the page
		if !ok {
			continue
		}
		begin := len(s.chunk)
		s.chunk = append(s.chunk, one.data...)
		all = append(all, chunkPage{key, one, begin, len(s.chunk), atEnd})
	}
	slices.SortFunc(all, func(a, b chunkPage) int { return cmp.Compare(a.key, b.key) })
	s.rows = s.rows[:0]
	for _, kind := range []byte{indexLeaf, indexInterior} { // the rows of an upper page are far apart in time
		for _, one := range all {
			if one.page.data = s.chunk[one.begin:one.end]; one.page.kind() != kind {
				continue
			}
			s.scan.atEnd = one.atEnd
			for _, row := range s.scan.readSamples(one.page, s.likely) {
				if s.mayKeep(&row) {
					s.rows = append(s.rows, row)
				}
			}
		}
		if kind == indexLeaf && !slices.IsSortedFunc(s.rows, byKey) {
			slices.SortFunc(s.rows, byKey)
		}
	}
	return into.write(s.rows)
}

// pageAt returns a page by its number in survey.order.
func (s *salvage) pageAt(number uint32) (one page, atEnd, ok bool) {
	if number < frameBit {
		one, ok = s.pages.get(number, false)
		return one, false, ok
	}
	f := s.found.frames[number-frameBit]
	data, ok := s.pages.wal.device.read(f.at, s.pages.size)
	return page{f.page, s.pages.size, data}, true, ok
}

// likely says whether a row of a damaged page is probably intact: its series and
// its session are known.
func (s *salvage) likely(one *sample) bool {
	newest := s.found.sessions
	if newest == 0 {
		newest = 1 << 20
	}
	return s.found.known.has(uint32(one.series)) && //nolint:gosec // not negative
		(one.session == noSession || one.session > 0 && one.session <= newest)
}

// mayKeep says whether a sample has a series, or may get an unnamed one.
func (s *salvage) mayKeep(one *sample) bool {
	if s.found.known.has(uint32(one.series)) { //nolint:gosec // not negative
		return true
	}
	id := int64(one.series)
	if s.unnamed == nil {
		s.unnamed = map[int64]bool{}
	}
	if !s.unnamed[id] && len(s.unnamed) >= maxUnnamed {
		return false
	}
	s.unnamed[id] = true
	return true
}
