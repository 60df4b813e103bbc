package repair

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/salvage"
	"github.com/taniwha3/thugshells/shared/store"
)

// prepareFile creates a file at the path if there is none, and checks that the file
// there may be opened.
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

// emptied returns why the file has to be replaced before SQLite opens it; nil: it
// does not. A file may be empty beside a WAL with all rows, which SQLite would
// delete. Or the file was emptied, or its WAL cut short, while it was open: other
// processes then still use the index of the old WAL, until there is another file.
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
		return nil, fmt.Errorf("check the database file: %w", err)
	}
	if !info.Mode().IsRegular() {
		// Opening a FIFO waits for a writer. The WAL beside a symbolic link is not the
		// WAL beside its target.
		return nil, fmt.Errorf("%s is %w but %s; move it away, or set storage.path to the file itself",
			path, store.ErrNotFile, hostfs.KindOf(info.Mode()))
	}
	return info, nil
}

// keepDamagedWAL copies a damaged WAL: SQLite drops everything after the damage
// when it opens the database. A copy that fails is logged and does not stop the
// database from being opened. No connection of this process is open.
func (o *Owner) keepDamagedWAL() {
	wal := o.path + "-wal"
	s, err := salvage.CheckWAL(wal)
	if err != nil || !s.Damaged || s.Head == o.wal.kept {
		return
	}
	to := keptName(o.path, time.Now()) + "-wal"
	kept := "kept as " + to
	if err = copyFile(wal, to); err == nil {
		o.wal.kept = s.Head
	} else {
		kept = "it could not be kept"
	}
	o.wal.unsaid = fmt.Sprintf("the write-ahead log was damaged; at least %d transactions in it are lost, "+
		"which held an unknown number of samples; %s", s.Beyond, kept)
	o.log.Error("the write-ahead log is damaged; data after the damage is lost, and a copy is kept",
		"transactions_lost", s.Beyond, "frames_good", s.Frames, "kept", to, "error", fmt.Sprint(err))
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
