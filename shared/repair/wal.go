package repair

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/salvage"
)

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
	o.wal.unsaid = fmt.Sprintf("the write-ahead log was damaged; at least %d transactions in it are lost, which held an unknown number of samples; %s", s.Beyond, kept)
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
