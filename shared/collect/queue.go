package collect

import "github.com/taniwha3/thugshells/shared/store"

// queueLimit bounds the samples that wait in memory while the database cannot
// take them: about an hour of a board's samples, some 3 MB.
const queueLimit = 20000

// queue holds the samples that could not be stored, oldest first.
type queue struct {
	groups []store.Group
	lost   int // dropped since the last time anything could be stored
}

// add appends groups and returns all that waits, with what had to be dropped to
// stay within the limit.
func (q *queue) add(groups []store.Group) ([]store.Group, map[string]int) {
	q.groups = append(q.groups, groups...)
	for q.size() > queueLimit {
		q.lost += len(q.groups[0].Samples)
		q.groups = q.groups[1:]
	}
	if q.lost == 0 {
		return q.groups, nil
	}
	return q.groups, map[string]int{"memory_full": q.lost}
}

// clear forgets what was stored.
func (q *queue) clear() { *q = queue{} }

func (q *queue) size() int {
	n := 0
	for _, g := range q.groups {
		n += len(g.Samples)
	}
	return n
}
