package store

import (
	"maps"
	"sync"
)

// cachedSeries bounds a cache: a full one is emptied. A board has some hundreds of
// series; 20,000 take about 6 MB.
const cachedSeries = 20000

// A seriesCache has the series that this process has read or stored: by identity
// for inserting, by id for reading. They belong to one generation of one file; see
// generationOf. When another process deletes series, the cache is emptied.
type seriesCache struct {
	mu         sync.Mutex
	version    int   // grows when series are removed; a series that was read before is not added
	generation int64 // of the file; -1: unknown
	byID       map[int64]*Series
	byIt       map[identity]*Series

	limit   SeriesLimit
	taken   SeriesLimit // of the stored series
	known   bool        // taken is known
	refused int64       // samples of new series
	next    int64       // the id that was given out last
	survey  *Survey     // that is under way; nil: none is
}

func newSeriesCache() *seriesCache {
	return &seriesCache{generation: -1, byID: map[int64]*Series{}, byIt: map[identity]*Series{}}
}

// current is the version to give to a series that is about to be read.
func (c *seriesCache) current() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// add adds a series, unless some were removed since it was read.
func (c *seriesCache) add(s *Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remember(s)
}

// addStored adds series that a committed transaction stored or looked up by their
// identity.
func (c *seriesCache) addStored(all []*Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range all {
		if c.remember(s) {
			c.byIt[s.identity()] = s
		}
	}
}

func (c *seriesCache) remember(s *Series) bool {
	if s.version != c.version {
		return false
	}
	if len(c.byID) >= cachedSeries {
		c.byID, c.byIt = map[int64]*Series{}, map[identity]*Series{}
	}
	c.byID[s.ID] = s
	return true
}

// sync empties the cache unless it is of the given generation. A writer calls it:
// its transaction reads the newest one.
func (c *seriesCache) sync(generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		c.empty()
		c.generation = generation
	}
}

// syncReader is sync for a reader, whose transaction may see an older generation.
// It returns the version of the cache that agrees with the transaction, -1 for
// none.
func (c *seriesCache) syncReader(generation int64) (version int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation > c.generation {
		c.empty()
		c.generation = generation
	}
	if generation < c.generation {
		return -1
	}
	return c.version
}

// reset empties the cache for another file.
func (c *seriesCache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty()
	c.generation, c.survey, c.next = -1, nil, 0
}

func (c *seriesCache) empty() {
	c.version++
	c.byID, c.byIt, c.known = map[int64]*Series{}, map[identity]*Series{}, false
}

// remove removes series that this process deletes.
func (c *seriesCache) remove(ids []int64, bytes, generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.generation = generation
	for _, id := range ids {
		if s := c.byID[id]; s != nil {
			delete(c.byID, id)
			delete(c.byIt, s.identity())
		}
	}
	c.taken.Count -= int64(len(ids))
	c.taken.Bytes -= bytes
}

// all returns all series by id.
func (c *seriesCache) all() map[int64]*Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byID)
}

// find returns the series of an identity, nil if it is not in the cache, and marks
// it as in use.
func (c *seriesCache) find(it identity) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byIt[it]
	if s != nil && c.survey != nil {
		c.survey.use(s.ID)
	}
	return s
}

// use marks a series as in use, for a survey.
func (c *seriesCache) use(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.survey != nil {
		c.survey.use(id)
	}
}

// get returns the series with an id, nil if it is not in the cache or the cache has
// another version.
func (c *seriesCache) get(version int, id int64) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.version {
		return nil
	}
	return c.byID[id]
}

// nextID returns where to look for a free id. An id is used again as late as
// possible: receipts and requests may still contain it.
func (c *seriesCache) nextID() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	if c.next > idRange && c.taken.Count < idRange/2 || c.next > MaxSeries {
		c.next = 1
	}
	return c.next
}

// setLastID makes the search for the next free id begin after this one.
func (c *seriesCache) setLastID(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = id
}

// beginSurvey makes a survey the one that is under way.
func (c *seriesCache) beginSurvey(s *Survey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survey = s
}

// isSurvey says whether the survey is under way and still valid.
func (c *seriesCache) isSurvey(s *Survey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.survey == s
}

// idle returns the ids for which the survey found no sample and no use.
func (c *seriesCache) idle(s *Survey, ids []int64) []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var idle []int64
	for _, id := range ids {
		if c.survey == s && !s.inUse(id) {
			idle = append(idle, id)
		}
	}
	return idle
}

// endSurvey ends the survey: it is complete, or samples moved to times that it has
// passed.
func (c *seriesCache) endSurvey() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survey = nil
}
