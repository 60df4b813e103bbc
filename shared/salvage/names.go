package salvage

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// maxGuesses bounds the names and tags that are tried.
	maxGuesses = 400_000
	// maxNumber bounds the numbers that are tried in tags, such as those of cores.
	maxNumber = 64
	// unnamedMetric is the name of samples whose name is lost; the tag series_id is
	// the id of their series.
	unnamedMetric = "storage.unnamed"
)

// names adds the series to the new file whose rows are lost: those that the caller
// remembers, and those that can be guessed from their hash.
func (s *salvage) names() error {
	if err := s.readKnown(); err != nil {
		return err
	}
	for _, one := range s.known.Series {
		s.noteParts(one)
		if err := s.putSeries(one); err != nil {
			return err
		}
	}
	for _, one := range s.guessed() {
		if err := s.putSeries(one); err != nil {
			return err
		}
	}
	return s.readKnown()
}

// readKnown reads which series the new file has.
func (s *salvage) readKnown() error {
	s.found.known = newBits(store.MaxSeries + 1)
	rows, err := s.into.conn.QueryContext(s.ctx, "SELECT id FROM main.series WHERE id BETWEEN 1 AND ?", store.MaxSeries)
	if err != nil {
		return writing(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id uint32
		if err := rows.Scan(&id); err != nil {
			return writing(err)
		}
		s.found.known.add(id)
	}
	return writing(rows.Err())
}

func (s *salvage) putSeries(one store.Series) error {
	if one.ID < 1 || one.ID > store.MaxSeries {
		return nil
	}
	return s.into.exec("INSERT OR IGNORE INTO main.series (id, series_key, metric_name, device_id, tags, value_type) VALUES (?, ?, ?, ?, ?, ?)",
		one.ID, store.SeriesKey(one), one.Name, one.Device, one.Tags, one.Type)
}

// guessed returns series whose rows are lost and whose hash in the index is not.
// It tries each name with the tags and devices that are in the file, until the
// hash is right.
func (s *salvage) guessed() (all []store.Series) {
	wanted := map[string]int64{}
	for id, hash := range s.found.hashes {
		if !s.found.known.has(uint32(id)) { //nolint:gosec // within bounds
			wanted[hash] = id
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for _, entry := range metric.Catalog {
		if len(s.found.parts[0]) < maxNames {
			s.found.parts[0][entry.Name] = true
		}
	}
	s.found.parts[1][s.known.Device] = true
	s.found.parts[2][""] = true
	names, devices := slices.Sorted(maps.Keys(s.found.parts[0])), slices.Sorted(maps.Keys(s.found.parts[1]))
	tries := 0
	for _, tags := range s.guessTags() {
		for _, device := range devices {
			for _, name := range names {
				if tries++; tries > maxGuesses || len(wanted) == 0 {
					return all
				}
				one := store.Series{Name: name, Device: device, Tags: tags}
				key := store.SeriesKey(one)
				if id, found := wanted[key]; found {
					one.ID = id
					all = append(all, one)
					delete(wanted, key)
				}
			}
		}
	}
	return all
}

// guessTags returns the tags that are in the file, and the same with other numbers.
func (s *salvage) guessTags() []string {
	seen := slices.Sorted(maps.Keys(s.found.parts[2]))
	more := map[string]bool{}
	for _, tags := range seen {
		var object map[string]string
		if json.Unmarshal([]byte(tags), &object) != nil {
			continue
		}
		pairs := make([]string, 0, 2*len(object))
		for _, key := range slices.Sorted(maps.Keys(object)) {
			pairs = append(pairs, key, object[key])
		}
		for i := 1; i < len(pairs); i += 2 {
			if _, err := strconv.ParseUint(pairs[i], 10, 16); err != nil {
				continue
			}
			for n := range maxNumber {
				other := slices.Clone(pairs)
				other[i] = strconv.Itoa(n)
				more[metric.Tags(other...)] = true
			}
		}
	}
	for _, tags := range seen {
		delete(more, tags)
	}
	return append(seen, slices.Sorted(maps.Keys(more))...)
}

// nameTheRest stores an unnamed series for samples whose series is lost.
func (s *salvage) nameTheRest() error {
	device := s.known.Device
	for _, one := range slices.Sorted(maps.Keys(s.found.parts[1])) {
		if device == "" {
			device = one
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.unnamed)) {
		one := store.Series{ID: id, Name: unnamedMetric, Device: device, Tags: metric.Tags("series_id", fmt.Sprint(id))}
		if err := s.putSeries(one); err != nil {
			return err
		}
	}
	s.report.Unnamed = int64(len(s.unnamed))
	return nil
}
