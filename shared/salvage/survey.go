package salvage

import (
	"encoding/hex"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// checkEvery is how many pages are read between two checks of the limits.
	checkEvery = 256
	// maxHashes bounds the hashes of series that are remembered, maxNames the names,
	// tags and devices.
	maxHashes = 1 << 14
	maxNames  = 1 << 12
	// frameBit marks a number in survey.order that is an index of survey.frames.
	frameBit = 1 << 31
)

// A survey is what is known after each page of a damaged file was read once.
type survey struct {
	version  int64              // the highest in schema_version
	present  int64              // rows that only the present schema has: series, entries of the ledger
	old      []uint32           // pages with rows of earlier schemas
	oldest   int                // the newest of those schemas
	order    []uint64           // pages with samples, see keyOf
	frames   []frame            // behind the damage of the WAL, that are in order
	known    bits               // ids of series in the new file
	hashes   map[int64]string   // of series, by id
	parts    [3]map[string]bool // names, devices and tags of series
	sessions int64              // the highest number of a session
	ledgerAt int32              // the last frame behind the damage with an entry of the ledger
}

// isOlder says whether the file is of an earlier schema. A file of the present
// schema may have rows of an earlier one in free pages.
func (f *survey) isOlder() bool { return f.present == 0 && len(f.old) > 0 }

// keyOf is an entry of survey.order: it sorts pages by the newest time in them, in
// steps of about a second, and by their number.
func keyOf(newest int64, number uint32) uint64 { return uint64(newest)>>10<<32 | uint64(number) } //nolint:gosec // not negative

// copySmallTables reads every page once, copies the rows of the small tables and
// lists the pages with samples.
func (s *salvage) copySmallTables() error {
	f := &s.found
	f.known, f.hashes = newBits(store.MaxSeries+1), map[int64]string{}
	f.order = make([]uint64, 0, s.pages.count)
	for i := range f.parts {
		f.parts[i] = map[string]bool{}
	}
	half := time.Time{} // the other half is for the samples
	if !s.until.IsZero() {
		half = time.Now().Add(time.Until(s.until) / 2)
	}
	return s.unlessFull(s.into.transact(func() error {
		for n := uint32(1); n <= s.pages.count; n++ {
			if n%checkEvery == 0 {
				if err := s.ctx.Err(); err != nil {
					return err
				}
				if !half.IsZero() && time.Now().After(half) {
					s.report.Halted = "reading the database took longer than half of " + s.known.Limit.String()
					break
				}
			}
			if s.pages.isMap(n) || s.pages.isFree(n, false) {
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
	one, ok := s.pages.get(n, false)
	if !ok {
		return nil
	}
	if one.kind() == 0 && (use == mapRoot || use == mapTree) {
		s.report.Broken++
	}
	return s.surveyPage(one, n, frame{})
}

// surveyWAL reads the frames behind the damage of the WAL. If the WAL's header is
// broken as well, their order in time is unknown: then it reads only those of
// pages that the file does not have.
func (s *salvage) surveyWAL() error {
	s.scan.atEnd = true
	defer func() { s.scan.atEnd = false }()
	w := s.pages.wal
	for _, f := range w.behind {
		if f.page == 0 || f.page >= s.pages.limit || s.pages.isFree(f.page, true) {
			continue
		}
		if one, ok := s.pages.get(f.page, false); w.headless && ok && one.kind() != 0 {
			continue
		}
		data, ok := w.device.read(f.at, s.pages.size)
		if !ok {
			continue
		}
		s.report.BehindWAL++
		s.found.frames = append(s.found.frames, f)
		number := frameBit | uint32(len(s.found.frames)-1) //nolint:gosec // fewer frames than pages
		if err := s.surveyPage(page{f.page, s.pages.size, data}, number, f); err != nil {
			return err
		}
	}
	return nil
}

// surveyPage copies the rows of a page. Samples are copied later: of a page with
// samples only the newest time is noted.
func (s *salvage) surveyPage(p page, number uint32, from frame) error {
	if p.kind() == 0 || p.kind() == tableInterior {
		return nil
	}
	s.scan.load(p)
	old := false
	for _, at := range s.scan.cells {
		t, rowid := s.scan.row(at)
		switch {
		case t == nil:
			s.noteHash()
		case t == samplesTable:
			s.found.order = append(s.found.order, keyOf(s.newest(), number))
			return nil
		case t.name == "schema_version":
			s.found.version = max(s.found.version, s.scan.rec.values[1].n)
		case t.schema < store.SchemaVersion:
			if !old && number < frameBit {
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

// newest returns the latest time in a page with samples: that of its first row,
// which was just read, or of its last.
func (s *salvage) newest() int64 {
	first := s.scan.rec.values[0].n
	for i := len(s.scan.cells) - 1; i > 0; i-- {
		if t, _ := s.scan.row(s.scan.cells[i]); t == samplesTable {
			return max(first, s.scan.rec.values[0].n)
		}
	}
	return first
}

// noteRow notes what is needed to judge other rows.
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

// noteHash notes an entry of the index of series by their hash: if the row of the
// series is lost, the hash can confirm a guess.
func (s *salvage) noteHash() {
	r := &s.scan.rec
	if r.columns != 2 || r.values[0].kind != text || len(r.values[0].b) != 64 || r.values[1].kind != whole ||
		len(s.found.hashes) >= maxHashes {
		return
	}
	if _, err := hex.DecodeString(string(r.values[0].b)); err == nil && r.values[1].n >= 1 && r.values[1].n <= store.MaxSeries {
		s.found.hashes[r.values[1].n] = string(r.values[0].b)
	}
}
