package store

import (
	"maps"
	"sync"
)

// cachedSeries bounds a cache: one that is full begins again. A board has some
// hundreds of series; so many take some 6 MB.
const cachedSeries = 20000

// seriesCache remembers the series seen by this process: by identity for
// inserting, by id for reading. What it knows is of one generation of one file.
// It forgets what is deleted, and all when another process deleted something.
type seriesCache struct {
	mu         sync.Mutex
	version    int   // counts the times that it forgot something; what was read before is not added
	generation int64 // of the file, -1: not known
	byID       map[int64]*Series
	byIt       map[identity]*Series

	limit   SeriesLimit
	taken   SeriesLimit // what the stored ones take
	known   bool        // taken is known
	refused int64
	next    int64   // where the search for a free id begins
	survey  *Survey // that goes on; nil: none does
}

func newSeriesCache() *seriesCache {
	return &seriesCache{generation: -1, byID: map[int64]*Series{}, byIt: map[identity]*Series{}}
}

// now is the version to give to a series that is about to be read.
func (c *seriesCache) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// add remembers a series, unless the cache forgot something since it was read.
func (c *seriesCache) add(s *Series) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remember(s)
}

// stored remembers series that a committed transaction stored or looked up by
// their identity.
func (c *seriesCache) stored(all []*Series) {
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

// sync makes what is remembered that of the given generation: a writer's, which
// reads the newest.
func (c *seriesCache) sync(generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		c.empty()
		c.generation = generation
	}
}

// seen is sync for a reader, whose transaction may have begun before the newest
// one ended. It returns the version in which the cache holds what that reader sees;
// no series is of the version -1.
func (c *seriesCache) seen(generation int64) (version int) {
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

// forget empties the cache, as another file has other numbers.
func (c *seriesCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty()
	c.generation, c.survey, c.next = -1, nil, 0
}

func (c *seriesCache) empty() {
	c.version++
	c.byID, c.byIt, c.known = map[int64]*Series{}, map[identity]*Series{}, false
}

// deleted forgets series that this process deletes, and goes on with the rest.
func (c *seriesCache) deleted(ids []int64, bytes, generation int64) {
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

// all returns every series that is known.
func (c *seriesCache) all() map[int64]*Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byID)
}

// find returns the series of an identity that is about to be used.
func (c *seriesCache) find(it identity) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byIt[it]
	if s != nil && c.survey != nil {
		c.survey.use(s.ID)
	}
	return s
}

// use notes that a series is about to be used.
func (c *seriesCache) use(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.survey != nil {
		c.survey.use(id)
	}
}

// get returns the series with an id in the given version.
func (c *seriesCache) get(version int, id int64) *Series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.version {
		return nil
	}
	return c.byID[id]
}

// nextID returns where to look for a free id. An id comes again as late as
// possible: receipts and requests under way may still name it.
func (c *seriesCache) nextID() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	if c.next > idRange && c.taken.Count < idRange/2 || c.next > MaxSeries {
		c.next = 1
	}
	return c.next
}

// took makes the search for the next free id begin behind this one.
func (c *seriesCache) took(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = id
}

// begin makes a survey the one that goes on.
func (c *seriesCache) begin(s *Survey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survey = s
}

// goesOn says whether nothing has made the survey void since it began.
func (c *seriesCache) goesOn(s *Survey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.survey == s
}

// idle returns those of the ids that the survey neither found nor saw used.
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

// void ends a survey: samples moved to times that it has passed.
func (c *seriesCache) void() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.survey = nil
}
