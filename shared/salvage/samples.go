package salvage

import (
	"cmp"
	"context"
	"database/sql/driver"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// chunkBytes is how much of the old file is copied in one transaction.
	chunkBytes = 256 << 10
	// rowsAtOnce is how many rows one statement writes.
	rowsAtOnce = 64
	// maxUnnamed bounds the series whose names are lost and whose samples are kept.
	maxUnnamed = 1 << 12
)

const (
	intoSamples = "INSERT INTO main.samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority) VALUES "
	// When a sample is found twice the state wins that is further on its way:
	// delivered, rejected, pending, held.
	further = ` ON CONFLICT DO UPDATE SET value = excluded.value, value_text = excluded.value_text, session = excluded.session,
		uploaded = excluded.uploaded, priority = excluded.priority
		WHERE substr('24310', excluded.uploaded + 1, 1) > substr('24310', samples.uploaded + 1, 1)`
)

// A sampleWriter writes samples into the new file. There are millions, so it goes
// past database/sql: that, and binding the values one by one, would take as long
// as SQLite takes for the rows.
type sampleWriter struct {
	w       *writer
	many    *rawStatement          // rowsAtOnce rows
	one     *rawStatement          // one row
	offered [store.Local + 1]int64 // rows that were written, by state; some may have been there
	at      int64                  // time of the row before
	boxed   driver.Value           // the same, as an argument: neighbours have one time
}

// A rawStatement is a statement of the driver with its arguments.
type rawStatement struct {
	stmt driver.StmtQueryContext
	args []driver.NamedValue
	n    int // arguments that are set
}

func newSampleWriter(w *writer) (*sampleWriter, error) {
	s := &sampleWriter{w: w}
	err := w.conn.Raw(func(conn any) (err error) {
		if s.many, err = newRawStatement(w, conn.(driver.Conn), rowsAtOnce); err == nil {
			s.one, err = newRawStatement(w, conn.(driver.Conn), 1)
		}
		return err
	})
	return s, writing(err)
}

func newRawStatement(w *writer, conn driver.Conn, rows int) (*rawStatement, error) {
	places := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?), ", rows), ", ")
	stmt, err := conn.Prepare(intoSamples + places + further)
	if err != nil {
		return nil, err
	}
	w.others = append(w.others, stmt)
	r := &rawStatement{stmt: stmt.(driver.StmtQueryContext), args: make([]driver.NamedValue, rows*len(samplesTable.columns))}
	for i := range r.args {
		r.args[i].Ordinal = i + 1
	}
	return r, nil
}

// add sets the next arguments. The statement runs when all are set.
func (r *rawStatement) add(values ...driver.Value) error {
	for _, v := range values {
		r.args[r.n].Value = v
		r.n++
	}
	if r.n < len(r.args) {
		return nil
	}
	r.n = 0
	rows, err := r.stmt.QueryContext(context.Background(), r.args) // what is to be waited for is short
	if err != nil {
		return writing(err)
	}
	return writing(rows.Close())
}

// write writes samples.
func (s *sampleWriter) write(rows []sample) error {
	return s.w.conn.Raw(func(any) error {
		s.many.n, s.one.n, s.boxed = 0, 0, nil
		whole := len(rows) / rowsAtOnce * rowsAtOnce
		for i := range rows {
			into := s.many
			if i >= whole {
				into = s.one
			}
			if err := s.add(into, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// add writes one sample, or keeps it until there are enough.
func (s *sampleWriter) add(into *rawStatement, r *sample) error {
	s.offered[r.state]++
	if s.boxed == nil || r.at != s.at {
		s.at, s.boxed = r.at, r.at
	}
	var value, words, session driver.Value
	switch r.kind {
	case whole:
		value = r.number
	case float:
		value = math.Float64frombits(uint64(r.number)) //nolint:gosec // the bits
	}
	if r.text != nil {
		words = *r.text
	}
	if r.session != noSession {
		session = r.session
	}
	return into.add(s.boxed, int64(r.series), value, words, session, int64(r.state), int64(r.priority))
}

// samples copies the samples chunk by chunk. SQLite takes half as much time again
// for the newest first, so it begins with the oldest while there is room and time
// for all, and takes the newest of the rest as soon as there may not be.
func (s *salvage) samples() error {
	into, err := newSampleWriter(s.into)
	if err != nil {
		return err
	}
	s.scan.begin()
	order := s.found.order
	slices.Sort(order)
	each := max(1, chunkBytes/s.pages.size)
	ample := true
	for len(order) > 0 && !s.halt() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n := min(each, len(order))
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
	s.offered = into.offered
	return nil
}

// ample says whether there is more than enough room and time for so many pages.
func (s *salvage) ample(pages int) bool {
	if !s.until.IsZero() && time.Until(s.until) < s.known.Limit*3/4 {
		return false
	}
	free, err := hostfs.FreeBytes(s.to)
	return err == nil && free/2 > s.known.KeepFree+int64(pages)*int64(s.pages.size)
}

// copyChunk copies the samples of some pages.
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
	for _, kind := range []byte{indexLeaf, indexInterior} { // the rows of upper pages are far apart
		for _, one := range all {
			if one.page.data = s.chunk[one.begin:one.end]; one.page.kind() != kind {
				continue
			}
			s.scan.atEnd = one.atEnd
			rows := s.scan.readSamples(one.page, s.likely)
			for i := range rows {
				if s.mayKeep(&rows[i]) {
					s.rows = append(s.rows, rows[i])
				}
			}
		}
		if kind == indexLeaf && !slices.IsSortedFunc(s.rows, inOrder) {
			slices.SortFunc(s.rows, inOrder)
		}
	}
	return into.write(s.rows)
}

func inOrder(a, b sample) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.series, b.series))
}

// A chunkPage is a page of a chunk, and where its data are.
type chunkPage struct {
	key        uint64
	page       page
	begin, end int
	atEnd      bool
}

// pageAt returns a page by its number in survey.order.
func (s *salvage) pageAt(number uint32) (one page, atEnd, ok bool) {
	if number < extra {
		one, ok = s.pages.get(number)
		return one, false, ok
	}
	f := s.found.frames[number-extra]
	data, ok := s.pages.log.read(f.at, s.pages.size)
	return page{f.page, s.pages.usable, data}, true, ok
}

// likely says of a row in a page that is damaged whether it seems to be whole: its
// series and its session are known.
func (s *salvage) likely(one *sample) bool {
	most := s.found.sessions
	if most == 0 {
		most = 1 << 20
	}
	return s.found.known.has(uint32(one.series)) && (one.session == noSession || one.session > 0 && one.session <= most) //nolint:gosec // not negative
}

// mayKeep says whether a sample has a series, or may get one.
func (s *salvage) mayKeep(one *sample) bool {
	number := uint32(one.series) //nolint:gosec // not negative
	if s.found.known.has(number) {
		return true
	}
	if s.unnamed == nil {
		s.unnamed = map[int64]bool{}
	}
	if !s.unnamed[int64(number)] && len(s.unnamed) >= maxUnnamed {
		return false
	}
	s.unnamed[int64(number)] = true
	return true
}
