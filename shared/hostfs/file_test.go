package hostfs

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyARegularFileOfBoundedSizeIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, size int64) {
		t.Helper()
		f, err := os.Create(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	write("fits", 2048)
	write("a byte more", 2049)
	write("1 GB", 1<<30)
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink("fits", at("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"fits": "", "link": "", "a byte more": "larger than 2 KiB", "1 GB": "larger than 2 KiB",
		"fifo": "want a regular file, got a FIFO", ".": "want a regular file, got a directory", "socket": "got a socket",
		"/dev/zero": "got a device", "/dev/null": "got a device", "missing": "no such file",
	} {
		path := at(name)
		if strings.Contains(name, "dev/") {
			path = "/dev/" + filepath.Base(name)
		}
		data, err := ReadRegular(path, 2048)
		switch {
		case want == "" && (err != nil || len(data) != 2048):
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if data, err := ReadDevice("/dev/null", 10); len(data) > 0 || err != nil {
		t.Errorf("/dev/null: %q, %v", data, err)
	}
	if _, err := ReadDevice("/dev/zero", 1<<20); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("/dev/zero: %v", err)
	}
}
