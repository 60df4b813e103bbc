package health

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/taniwha3/thugshells/shared/store"
)

// Read lends the open database to fn. If fn fails because of the database, it is opened
// again for the next reading.
func (w *Watch) Read(fn func(*store.Reader) error) error {
	r, err := w.borrow()
	if err != nil {
		return err
	}
	err = fn(r)
	return errors.Join(err, w.giveBack(r, err != nil && store.FaultOf(err) != store.FaultNone))
}

// borrow returns the reader of the file that is at the path now.
func (w *Watch) borrow() (*store.Reader, error) {
	w.file.Lock()
	defer w.file.Unlock()
	at, err := os.Stat(w.path)
	if w.reader != nil && (err != nil || !os.SameFile(at, w.opened)) {
		if err := w.drop(); err != nil {
			return nil, err
		}
	}
	if w.reader == nil {
		// Not the context of the request, because the reader outlives it.
		r, err := store.OpenReader(context.Background(), w.path, store.ReadOptions{})
		if err != nil {
			return nil, err
		}
		then, err := os.Stat(w.path)
		if err == nil && !os.SameFile(at, then) {
			err = fmt.Errorf("%s was replaced while it was opened; it is opened again", w.path)
		}
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		w.reader, w.opened = r, then
	}
	w.borrowed[w.reader]++
	return w.reader, nil
}

// giveBack ends a loan; broken says that the reader cannot be used again.
func (w *Watch) giveBack(r *store.Reader, broken bool) error {
	w.file.Lock()
	defer w.file.Unlock()
	w.borrowed[r]--
	if r == w.reader && broken {
		return w.drop()
	}
	if r != w.reader && w.borrowed[r] == 0 {
		delete(w.borrowed, r)
		return r.Close()
	}
	return nil
}

// drop ends the use of the present reader; the last borrower closes it.
func (w *Watch) drop() error {
	r := w.reader
	w.reader, w.opened = nil, nil
	if r == nil || w.borrowed[r] > 0 {
		return nil
	}
	delete(w.borrowed, r)
	return r.Close()
}
