package salvage

import (
	"encoding/hex"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// lookEvery is after how many pages the limits are looked at.
	lookEvery = 256
	// maxHashes bounds the hashes of identities that are remembered, maxNames the
	// names, tags and devices.
	maxHashes = 1 << 14
	maxNames  = 1 << 12
	// extra marks a number in survey.order that is the index of a frame.
	extra = 1 << 31
)

// A survey is what is known of a damaged file after all of it was read once.
type survey struct {
	version  int64    // highest in schema_version
	present  int64    // rows of the present schema that nothing else can be: series and entries of the ledger
	old      []uint32 // pages with rows of earlier schemas
	oldest   int      // of those schemas
	order    []uint64 // pages with samples: the newest time in them, and the number
	frames   []frame  // those of the WAL's end that are in order
	known    bits     // numbers of series whose names are known
	hashes   map[int64]string
	parts    [3]map[string]bool // names, devices and tags of the series
	sessions int64              // the highest number of a session
	ledgerAt int32              // the last frame behind a broken one that has the ledger
}

// isOlder says whether the file is of an earlier schema. A file that was brought
// up to date may have rows of the earlier one in pages that are free.
func (f *survey) isOlder() bool { return f.present == 0 && len(f.old) > 0 }

// keyOf is the place of a page in survey.order.
func keyOf(newest int64, number uint32) uint64 { return uint64(newest)>>10<<32 | uint64(number) } //nolint:gosec // not negative

// small reads every page once. It copies the small tables and finds out where
// the samples are.
func (s *salvage) small() error {
	f := &s.found
	f.known, f.hashes = newBits(store.MaxSeries+1), map[int64]string{}
	f.order = make([]uint64, 0, s.pages.count)
	for i := range f.parts {
		f.parts[i] = map[string]bool{}
	}
	half := time.Time{} // the samples need time as well
	if !s.until.IsZero() {
		half = time.Now().Add(time.Until(s.until) / 2)
	}
	return s.unlessFull(s.into.transact(func() error {
		s.scan.begin()
		for n := uint32(1); n <= s.pages.count; n++ {
			if n%lookEvery == 0 {
				if err := s.ctx.Err(); err != nil {
					return err
				}
				if !half.IsZero() && time.Now().After(half) {
					s.report.Halted = "reading the database took longer than half of " + s.known.Limit.String()
					break
				}
			}
			if s.pages.mapOf(n) == n && s.pages.mapped || s.pages.isFree(n, false) {
				continue
			}
			if err := s.survey(n); err != nil {
				return err
			}
		}
		return s.surveyWAL()
	}))
}

func (s *salvage) survey(n uint32) error {
	use := s.pages.use(n, false)
	one, ok := s.pages.get(n)
	if !ok {
		return nil
	}
	if one.kind() == 0 && (use == mapRoot || use == mapTree) {
		s.report.Broken++
	}
	return s.surveyPage(one, n, frame{})
}

// surveyWAL reads what a broken WAL has behind the break: all that fits together
// if its header is known, and else what no other page has.
func (s *salvage) surveyWAL() error {
	s.scan.atEnd = true
	defer func() { s.scan.atEnd = false }()
	for i, frames := range [][]frame{s.pages.wal.behind, s.pages.wal.loose} {
		for _, f := range frames {
			if f.page == 0 || f.page >= s.pages.limit || s.pages.isFree(f.page, true) {
				continue
			}
			if one, ok := s.pages.get(f.page); i == 1 && ok && one.kind() != 0 {
				continue
			}
			data, ok := s.pages.log.read(f.at, s.pages.size)
			if !ok {
				continue
			}
			s.report.BehindWAL++
			s.found.frames = append(s.found.frames, f)
			number := extra | uint32(len(s.found.frames)-1) //nolint:gosec // fewer frames than pages
			if err := s.surveyPage(page{f.page, s.pages.usable, data}, number, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// surveyPage copies the rows of a page, unless they are samples. Those come
// later, the newest first: here it is enough to know the newest.
func (s *salvage) surveyPage(p page, number uint32, from frame) error {
	if p.kind() == 0 || p.kind() == tableInterior {
		return nil
	}
	p, cells, pointers := s.scan.load(p)
	old := false
	for i := range cells {
		t, rowid := s.scan.row(p, i, pointers)
		switch {
		case t == nil:
			s.noteHash()
		case t == samplesTable:
			s.found.order = append(s.found.order, keyOf(s.newest(p, cells, pointers), number))
			return nil
		case t.name == "schema_version":
			s.found.version = max(s.found.version, s.scan.rec.values[1].n)
		case t.schema < store.SchemaVersion:
			if !old && number < extra {
				s.found.old = append(s.found.old, number)
			}
			old, s.found.oldest = true, max(s.found.oldest, t.schema)
		default:
			s.noteRow(t, rowid, from)
			if err := s.into.put(t, &s.scan.rec, rowid); err != nil {
				return err
			}
		}
	}
	return nil
}

// newest returns the latest time of a page with samples, by its first row, which
// was just read, and its last.
func (s *salvage) newest(p page, cells, pointers int) int64 {
	at := s.scan.rec.values[0].n
	for i := cells - 1; i > 0; i-- {
		if t, _ := s.scan.row(p, i, pointers); t == samplesTable {
			return max(at, s.scan.rec.values[0].n)
		}
	}
	return at
}

// noteRow remembers what other rows can be judged by.
func (s *salvage) noteRow(t *table, rowid int64, from frame) {
	f, r := &s.found, &s.scan.rec
	switch t.name {
	case "series":
		f.present++
		s.noteParts(seriesIn(r, rowid))
	case "ledger":
		f.present++
		f.ledgerAt = max(f.ledgerAt, from.n)
	case "sessions":
		f.sessions = max(f.sessions, rowid)
	}
}

func (s *salvage) noteParts(one store.Series) {
	for i, part := range []string{one.Name, one.Device, one.Tags} {
		if len(s.found.parts[i]) < maxNames {
			s.found.parts[i][part] = true
		}
	}
}

// noteHash remembers an entry of the index of series by their hash: whose row is
// lost may still be known by it.
func (s *salvage) noteHash() {
	r := &s.scan.rec
	if r.columns != 2 || r.values[0].kind != text || len(r.values[0].b) != 64 || r.values[1].kind != whole || len(s.found.hashes) >= maxHashes {
		return
	}
	if _, err := hex.DecodeString(string(r.values[0].b)); err == nil && r.values[1].n >= 1 && r.values[1].n <= store.MaxSeries {
		s.found.hashes[r.values[1].n] = string(r.values[0].b)
	}
}
