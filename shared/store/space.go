package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// leastSpace is what must be free for SQLite to be asked to write. It maps the
// WAL's index (-shm), and on a filesystem with blocks below 4 KiB a page of it
// that has no block ends the process with SIGBUS: seen on ext4 in blocks of
// 1 KiB with 12 to 36 KiB free.
const leastSpace = 128 << 10

// CheckFreeSpace fails when the filesystem of path has less than leastSpace.
func CheckFreeSpace(path string) error {
	free, err := FreeBytes(filepath.Dir(path))
	if err != nil {
		return nil //nolint:nilerr // writing says more about it
	}
	if free < leastSpace {
		return fmt.Errorf("only %d KiB are free beside the database: %w", free>>10, syscall.ENOSPC)
	}
	return nil
}

// FreeBytes is the room that is left for this process on the filesystem that
// path, or its directory, lies in.
func FreeBytes(path string) (int64, error) { return hostfs.FreeBytes(path) }

// IsFull says whether an error means that the disk is full.
func IsFull(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && se.Code == sqlite3.ErrFull || errors.Is(err, syscall.ENOSPC)
}

// IsBusy says whether an error means that another process keeps the database
// locked.
func IsBusy(err error) bool { return isBusy(err) }
