package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReadLockReadsAnyFile(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		text string
		pid  int
	}{
		{"", 0}, {"123", 123}, {"123\n", 123}, {"-5", 0}, {"0", 0}, {"x", 0}, {strings.Repeat("9", 1<<20), 0}, {"\x00\xff", 0},
	} {
		path := filepath.Join(dir, "lock")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadLock(path); s.Written != c.pid || s.PID != 0 || s.Held || err != nil {
			t.Errorf("%.20q: %+v, %v; want pid %d, free", c.text, s, err, c.pid)
		}
	}
	if _, err := ReadLock(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if s, err := ReadLock(dir); s.Held || err == nil {
		t.Errorf("a directory: %+v, %v", s, err)
	}
}

func TestALockIsARegularFile(t *testing.T) {
	dir := t.TempDir()
	target, link, pipe := filepath.Join(dir, "target"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(target, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(target, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, link, pipe, filepath.Join(target, "below")} {
		if l, err := takeLock(path); err == nil {
			t.Errorf("%s: locked", path)
			_ = l.release()
		}
	}
	if text, _ := os.ReadFile(target); string(text) != "keep" {
		t.Errorf("the link's target holds %q", text)
	}
}

func TestAReleasedLockCanBeTakenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a/b/lock")
	for range 3 {
		l, err := takeLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); string(text) != "" || err != nil {
		t.Errorf("released: %q, %v", text, err)
	}
	if err := (*lock)(nil).release(); err != nil {
		t.Error(err)
	}
}
