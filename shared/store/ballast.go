package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

const (
	ballastSuffix = ".ballast"
	// ballastBytes is enough for the log of the transactions that delete old
	// samples, and for the checkpoint that follows them.
	ballastBytes = 4 << 20
	// leastRoom is what must be free for SQLite to be asked to write. It maps the
	// log's index (-shm), and on a filesystem with blocks below 4 KiB a page of it
	// that has no block ends the process with SIGBUS: seen on ext4 in blocks of
	// 1 KiB with 12 to 36 KiB free.
	leastRoom = 128 << 10
)

// room fails when the filesystem has less than leastRoom.
func (db *DB) room() error {
	free, err := freeBytes(filepath.Dir(db.path))
	if err != nil {
		return nil //nolint:nilerr // writing says more about it
	}
	if free < leastRoom {
		return fmt.Errorf("only %d KiB are free beside the database: %w", free>>10, syscall.ENOSPC)
	}
	return nil
}

// freeBytes is the room that is left for this process on the filesystem that
// path, or its directory, lies in.
func freeBytes(path string) (int64, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(path, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
		}
	}
	return int64(st.Bavail * uint64(st.Bsize)), nil // the width of Bsize differs by processor
}

// KeepBallast puts a file of some size beside the database while there is room,
// and releases it when there is none: on a full disk SQLite can neither delete
// nor empty its log, and whoever has to make room needs some. Room is low when
// fewer than low bytes are left. It says what it did: kept, released or neither.
func (db *DB) KeepBallast(low int64) (changed string, err error) {
	path := db.path + ballastSuffix
	free, err := freeBytes(db.path)
	if err != nil {
		return "", fmt.Errorf("look for room: %w", err)
	}
	info, err := os.Lstat(path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look at the ballast: %w", err)
	}
	switch {
	case there && free < low:
		_, err := db.ReleaseBallast()
		return BallastReleased, err
	case there && info.Size() == ballastBytes, free < low+2*ballastBytes:
		return "", nil
	}
	return BallastKept, fillBallast(path)
}

// What KeepBallast did.
const (
	BallastKept     = "kept"
	BallastReleased = "released"
)

// ReleaseBallast gives the ballast's room back, and says whether there was any.
func (db *DB) ReleaseBallast() (released bool, err error) {
	err = os.Remove(db.path + ballastSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("release the ballast: %w", err)
	}
	return err == nil, nil
}

// fillBallast makes a file of real blocks: one with holes would hold no room.
func fillBallast(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("keep ballast: %w", err)
	}
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i) // a filesystem that compresses keeps nothing for zeros
	}
	for written := 0; written < ballastBytes && err == nil; written += len(block) {
		_, err = f.Write(block)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("keep ballast: %w", err), os.Remove(path))
	}
	return nil
}

// Full says whether an error means that the disk is full.
func Full(err error) bool { return isFull(err) }

func isFull(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && se.Code == sqlite3.ErrFull || errors.Is(err, syscall.ENOSPC)
}
