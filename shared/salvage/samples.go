package salvage

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// chunkBytes is how much of the old file is copied in one transaction.
	chunkBytes = 512 << 10
	// rowsAtOnce is how many rows one statement writes.
	rowsAtOnce = 64
	// maxUnnamed bounds the series whose names are lost and whose samples are kept.
	maxUnnamed = 1 << 12
	// maxPacked is above every session that is written as part of a number.
	maxPacked = 1 << 40
)

const (
	intoSamples = "INSERT INTO main.samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority) VALUES "
	// When a sample is found twice the state wins that is further on its way:
	// delivered, rejected, pending, held.
	further = ` ON CONFLICT DO UPDATE SET value = excluded.value, value_text = excluded.value_text, session = excluded.session,
		uploaded = excluded.uploaded, priority = excluded.priority
		WHERE substr('24310', excluded.uploaded + 1, 1) > substr('24310', samples.uploaded + 1, 1)`
)

// A sampleWriter writes samples into the new file.
type sampleWriter struct {
	w       *writer
	many    *sql.Stmt // rowsAtOnce rows
	one     *sql.Stmt
	any     *sql.Stmt // a row of any values
	args    []any
	offered [store.Local + 1]int64 // rows that were written, by state; some may have been there
}

func newSampleWriter(w *writer) (_ *sampleWriter, err error) {
	s := &sampleWriter{w: w}
	for _, prepare := range []struct {
		into *(*sql.Stmt)
		rows string
	}{{&s.many, packedRows(rowsAtOnce)}, {&s.one, packedRows(1)}, {&s.any, "(?, ?, ?, ?, ?, ?, ?)"}} {
		if *prepare.into, err = w.conn.PrepareContext(w.ctx, intoSamples+prepare.rows+further); err != nil { //nolint:sqlclosecheck // close closes it
			return nil, writing(err)
		}
		w.others = append(w.others, *prepare.into)
	}
	return s, nil
}

// packedRows are the places of n rows in a statement. Each is three numbers: time
// and series, the value, and the rest.
func packedRows(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf("(?%[1]d >> 20, ?%[1]d & 1048575, ?%[2]d, NULL, NULLIF(?%[3]d >> 8, 0) - 1, ?%[3]d >> 4 & 15, ?%[3]d & 15)", 3*i+1, 3*i+2, 3*i+3)
	}
	return strings.Join(rows, ", ")
}

// write writes samples.
func (s *sampleWriter) write(rows []sample) error {
	s.args = s.args[:0]
	for i := range rows {
		r := &rows[i]
		s.offered[r.state]++
		if r.kind == null || r.text != nil || r.session != noSession && (r.session < 0 || r.session >= maxPacked) {
			if err := s.writeAny(r); err != nil {
				return err
			}
			continue
		}
		rest := int64(r.state)<<4 | int64(r.priority)
		if r.session != noSession {
			rest |= (r.session + 1) << 8
		}
		s.args = append(s.args, r.at<<20|int64(r.series), r.value(), rest)
		if len(s.args) == 3*rowsAtOnce {
			if _, err := s.many.ExecContext(s.w.ctx, s.args...); err != nil {
				return writing(err)
			}
			s.args = s.args[:0]
		}
	}
	for ; len(s.args) > 0; s.args = s.args[3:] {
		if _, err := s.one.ExecContext(s.w.ctx, s.args[:3]...); err != nil {
			return writing(err)
		}
	}
	return nil
}

func (s *sampleWriter) writeAny(r *sample) error {
	var session, words any
	if r.session != noSession {
		session = r.session
	}
	if r.text != nil {
		words = *r.text
	}
	_, err := s.any.ExecContext(s.w.ctx, r.at, r.series, r.value(), words, session, r.state, r.priority)
	return writing(err)
}

func (s *sample) value() any {
	switch s.kind {
	case whole:
		return s.number
	case float:
		return s.real
	}
	return nil
}

// samples copies the samples, the newest first: chunk by chunk, each in the order
// of the new file.
func (s *salvage) samples() error {
	into, err := newSampleWriter(s.into)
	if err != nil {
		return err
	}
	s.scan.begin()
	order := s.found.order
	slices.SortFunc(order, func(a, b uint64) int { return cmp.Compare(b, a) })
	each := max(1, chunkBytes/s.pages.size)
	for len(order) > 0 && !s.halt() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n := min(each, len(order))
		chunk := order[:n]
		order = order[n:]
		err := s.into.transact(func() error { return s.copyChunk(chunk, into) })
		if err := s.unlessFull(err); err != nil {
			return err
		}
	}
	s.offered = into.offered
	return nil
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
