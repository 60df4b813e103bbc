package salvage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taniwha3/thugshells/shared/store"
)

// older copies the rows of a file of an earlier schema into tables of that schema;
// the store then migrates them and begins the ledger.
func (s *salvage) older() (err error) {
	s.report.Schema = s.found.oldest
	if err := errors.Join(s.into.close(), remove(s.to)); err != nil {
		return writing(err)
	}
	if err := store.CreateEmpty(s.to); err != nil {
		return writing(err)
	}
	if s.into, err = newWriter(s.ctx, s.to); err != nil {
		return err
	}
	if err := s.into.transact(s.makeOlder); err != nil {
		return err
	}
	for pages := s.found.old; len(pages) > 0 && !s.halt(); {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		first := max(0, len(pages)-checkEvery) // the newest rows have the highest numbers
		some := pages[first:]
		pages = pages[:first]
		if err := s.unlessFull(s.into.transact(func() error { return s.copyOlder(some) })); err != nil {
			return err
		}
	}
	if err := s.into.close(); err != nil {
		return err
	}
	s.into = nil
	if err := create(s.ctx, s.to, s.known.Device); err != nil {
		return err
	}
	s.into, err = newWriter(s.ctx, s.to)
	return err
}

// makeOlder makes the tables of the earlier schema.
func (s *salvage) makeOlder() error {
	widest := map[string]*table{}
	for _, t := range tables {
		if t.schema < 1 || t.schema > s.found.oldest {
			continue
		}
		if w := widest[t.name]; w == nil || len(t.columns) > len(w.columns) {
			widest[t.name] = t
		}
	}
	for name, t := range widest {
		columns := make([]string, len(t.columns))
		for i, c := range t.columns {
			columns[i] = c.name + " " + c.declared()
		}
		columns[0] += " PRIMARY KEY"
		if err := s.into.exec(fmt.Sprintf("CREATE TABLE main.%s (%s)", name, strings.Join(columns, ", "))); err != nil {
			return err
		}
	}
	return nil
}

// declared is the type of the column in the statement that creates the table.
func (c column) declared() string {
	switch {
	case c.rowid:
		return "INTEGER"
	case c.kinds&text != 0:
		return "TEXT"
	case c.kinds&float != 0:
		return "REAL"
	}
	return "INTEGER"
}

// copyOlder copies the rows of some pages.
func (s *salvage) copyOlder(numbers []uint32) error {
	for _, n := range numbers {
		one, ok := s.pages.get(n, false)
		if !ok {
			continue
		}
		s.scan.load(one)
		for _, at := range s.scan.cells {
			t, rowid := s.scan.row(at)
			if t == nil || t.schema < 1 || t.schema > s.found.oldest {
				continue
			}
			if err := s.into.put(t, &s.scan.rec, rowid); err != nil {
				return err
			}
		}
	}
	return nil
}
