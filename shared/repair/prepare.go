package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/store"
)

// prepareFile puts a file at the path if there is none, and sees that it is one
// that may be opened.
func (o *Owner) prepareFile() error {
	if err := o.installSalvaged(); err != nil {
		return err
	}
	if _, err := os.Lstat(o.path); errors.Is(err, fs.ErrNotExist) {
		if err := store.CreateEmpty(o.path); err != nil {
			return err
		}
	}
	info, err := regularFile(o.path)
	if err != nil {
		return err
	}
	o.history.created = o.history.created || info.Size() == 0 && !hasPages(o.path+"-wal")
	if err := isOurFile(o.path, info.Size()); err != nil {
		return err
	}
	o.keepDamagedWAL()
	return nil
}

// emptied says why the file has to be replaced before SQLite looks at it: it is
// empty, and SQLite would delete the WAL beside it, in which may be all there is;
// or it was emptied or its WAL cut while it was open, and other processes read
// by an index of what is gone: only another file parts them from it.
func (o *Owner) emptied() error {
	cause := o.reopening.cause
	if o.reopening.installed {
		return nil
	}
	if errors.Is(cause, store.ErrWALCut) || errors.Is(cause, store.ErrEmptied) {
		return cause
	}
	if !hasPages(o.path) && hasPages(o.path+"-wal") {
		return fmt.Errorf("%w, and its write-ahead log is not empty", store.ErrEmptied)
	}
	return nil
}

// regularFile fails for anything but a file at the path.
func regularFile(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("look at the database: %w", err)
	}
	if !info.Mode().IsRegular() {
		// A FIFO would wait for a writer, and beside a symbolic link lies another
		// WAL than beside the file it leads to.
		return nil, fmt.Errorf("%s is %w but %s; move it away, or set storage.path to the file itself", path, store.ErrNotFile, hostfs.KindOf(info.Mode()))
	}
	return info, nil
}
