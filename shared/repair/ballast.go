package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	ballastSuffix = ".ballast"
	// ballastBytes is enough for the WAL of transactions that delete old samples and
	// for the checkpoint after them.
	ballastBytes = 4 << 20
	ballastEvery = time.Minute
	// early is how much sooner it is done: steps run in the wake-up of rounds, and the
	// next one may be half a minute away.
	early = 3 * time.Second
	// ballastLow is the free space below which the ballast is released.
	ballastLow = 16 << 20
)

// releaseBallast deletes the ballast when the disk is full: deleting samples and
// emptying the WAL need some room first.
func (o *Owner) releaseBallast() {
	o.due.ballast = time.Time{}
	switch released, err := removeBallast(o.path); {
	case err != nil:
		o.log.Warn("the disk is full and the ballast could not be released", "error", err)
	case released:
		o.log.Warn("the disk is full; the ballast beside the database was released to make room")
	}
}

// KeepBallast checks the ballast once a minute: a file beside the database that is
// kept while there is room and released when there is none.
func (o *Owner) KeepBallast(now time.Time) {
	if now.Sub(o.due.ballast).Abs() < ballastEvery-early {
		return
	}
	o.due.ballast = now
	switch changed, err := trimBallast(o.path, ballastLow); {
	case err != nil:
		o.log.Warn("the ballast file beside the database could not be maintained; will try again", "error", err,
			"retry_in", ballastEvery.String())
	case changed == ballastReleased:
		o.log.Warn("the disk is nearly full; the ballast beside the database was released")
	case changed == ballastKept:
		o.history.written, o.history.due = store.Ledger{}, time.Time{} // the new file has no witness
		o.log.Info("the ballast file was made beside the database, as a reserve for a full disk")
	}
}

// trimBallast makes or releases the ballast, which is released when less than low
// bytes are free. It returns what it did: kept, released or neither.
func trimBallast(database string, low int64) (changed string, err error) {
	path := database + ballastSuffix
	free, err := hostfs.FreeBytes(database)
	if err != nil {
		return "", fmt.Errorf("read the free space: %w", err)
	}
	info, err := os.Lstat(path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("check the ballast: %w", err)
	}
	switch {
	case there && free < low:
		_, err := removeBallast(database)
		return ballastReleased, err
	case there && info.Size() == ballastBytes, free < low+2*ballastBytes:
		return "", nil
	}
	return ballastKept, fillBallast(path)
}

// What trimBallast did.
const (
	ballastKept     = "kept"
	ballastReleased = "released"
)

// removeBallast deletes the ballast and says whether there was one.
func removeBallast(database string) (released bool, err error) {
	err = os.Remove(database + ballastSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("release the ballast: %w", err)
	}
	return err == nil, nil
}

// fillBallast writes the ballast with data: a file with holes reserves no room.
func fillBallast(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write the ballast: %w", err)
	}
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i) // a filesystem that compresses reserves nothing for zeros
	}
	for written := 0; written < ballastBytes && err == nil; written += len(block) {
		_, err = f.Write(block)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the ballast: %w", err), os.Remove(path))
	}
	return nil
}
