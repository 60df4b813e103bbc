package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lock is the one open descriptor of a lock file. POSIX record locks belong to
// the process and vanish when it closes any descriptor of the file (fcntl(2)),
// so nothing else in the process may open it. The kernel drops the lock of a
// process that is killed.
type lock struct {
	file *os.File
}

// takeLock locks the file at path, creating it and its directory where missing,
// and writes the pid into it. The error of a file that is locked already names
// the process that holds it.
func takeLock(path string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("create the directory of the lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	// A file that stays in place is locked again by whoever comes next; its
	// text is for people, and for LockHolder after a crash. On a full disk it has
	// none: that must not keep the collector from making room.
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("empty the lock: %w", err), f.Close())
	}
	_, err = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	if err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(fmt.Errorf("write the pid to the lock: %w", err), f.Close())
	}
	return &lock{f}, nil
}

func lockFile(f *os.File) error {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(errors.New("want a regular file"), err)
	}
	// The holder may end between the two calls; then it is ours to take.
	for range 10 {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			return err
		}
		pid, held, err := holder(f)
		if err != nil {
			return err
		}
		if held && pid > 0 {
			return fmt.Errorf("held by pid %d; only one instance runs at a time", pid)
		}
		if held {
			return errors.New("held by a process whose pid cannot be seen from here; only one instance runs at a time")
		}
	}
	return errors.New("taken by others again and again")
}

// release empties the file, which says that its holder stopped cleanly, and
// unlocks it. The file stays: removing it would let two instances in.
func (l *lock) release() error {
	if l == nil {
		return nil
	}
	if err := errors.Join(l.file.Truncate(0), l.file.Close()); err != nil {
		return fmt.Errorf("release the lock: %w", err)
	}
	return nil
}

// LockHolder tells who holds the lock file at path, without ever taking it:
//
//	pid > 0, held    the daemon runs
//	pid > 0, free    it ran and ended without stopping cleanly
//	0, free          it stopped cleanly
//	0, held          it runs where its pid cannot be seen, in another container
//
// A file that is not there is an error, fs.ErrNotExist: it never ran. The lock
// of the calling process itself cannot be seen, and would be lost by asking.
// The file was last written when the lock was taken, or was given up cleanly.
func LockHolder(path string) (pid int, held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	pid, held, err = holder(f)
	if err != nil {
		return 0, false, fmt.Errorf("lock %s: %w", path, err)
	}
	return pid, held, nil
}

// holder asks the kernel for the process that holds a lock on f, and takes the
// pid from the text where the kernel has none to give.
func holder(f *os.File) (pid int, held bool, err error) {
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return 0, false, fmt.Errorf("ask for its holder: %w", err)
	}
	held = l.Type != syscall.F_UNLCK
	if held && l.Pid > 0 {
		return int(l.Pid), true, nil
	}
	text := make([]byte, 32)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, false, fmt.Errorf("read the pid: %w", err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || pid < 1 {
		pid = 0
	}
	return pid, held, nil
}
