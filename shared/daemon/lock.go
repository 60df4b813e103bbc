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
	"time"
)

// lock is the one open descriptor of a lock file. POSIX record locks belong to
// the process and vanish when it closes any descriptor of the file (fcntl(2)),
// so nothing else in the process may open it. The kernel drops the lock of a
// process that is killed.
type lock struct {
	file *os.File
}

// errHeld is that of a lock that another instance holds.
var errHeld = errors.New("held")

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
	// A file that stays in place is locked again by the next process; its
	// text is for people, and for ReadLock after a crash. On a full disk it has
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
		return errors.Join(errors.New("it is not a regular file"), err)
	}
	// The process that holds it may end between the two calls.
	for range 10 {
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			return err
		}
		s, err := readLock(f)
		switch {
		case err != nil:
			return err
		case s.Held && s.PID > 0:
			return fmt.Errorf("%w by pid %d; only one instance runs at a time", errHeld, s.PID)
		case s.Held:
			return fmt.Errorf("%w by a process whose pid cannot be seen from here; only one instance runs at a time", errHeld)
		}
	}
	return errors.New("could not be taken: other processes keep taking it")
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

// A LockState is what can be seen of a lock file without ever taking it:
//
//	Held             the daemon runs
//	free, Written    it ran and ended without stopping cleanly
//	free, nothing    it stopped cleanly
type LockState struct {
	Held    bool
	PID     int       // of the process that holds it; 0: in another container, where it cannot be seen
	Written int       // the pid that the last process to take it wrote; 0: it stopped cleanly, or the disk was full
	Since   time.Time // when it was last taken or given up
}

// ReadLock looks at the lock file at path. A file that is not there is an error,
// fs.ErrNotExist: the daemon never ran. Any other error means that the state is
// not known. The lock of the calling process itself cannot be seen, and would be
// lost by asking.
func ReadLock(path string) (s LockState, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return LockState{}, err
	}
	defer f.Close()
	if s, err = readLock(f); err != nil {
		return LockState{}, fmt.Errorf("lock %s: %w", path, err)
	}
	return s, nil
}

// readLock asks the kernel for the process that holds a lock on f, and reads the
// pid that it wrote.
func readLock(f *os.File) (s LockState, err error) {
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.Since = info.ModTime()
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l); err != nil {
		return s, fmt.Errorf("ask for the process that holds it: %w", err)
	}
	if s.Held = l.Type != syscall.F_UNLCK; s.Held {
		s.PID = max(0, int(l.Pid))
	}
	text := make([]byte, 32)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("read the pid: %w", err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n]))); err == nil && pid > 0 {
		s.Written = pid
	}
	return s, nil
}
