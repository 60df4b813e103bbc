package hostfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

func TestReadFileReturnsATableWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stat")
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 1 << 20, 8 << 20} {
		want := strings.Repeat("x", size)
		hosttest.Write(t, path, want)
		got, err := hostfs.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	// The kernel says that this file has 0 bytes.
	if got, err := hostfs.ReadFile("/proc/self/status"); err != nil || !strings.HasPrefix(string(got), "Name:") {
		t.Errorf("/proc/self/status: %.20q, %v", got, err)
	}
}

func TestReadRejectsTextThatIsNotATable(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	written := filepath.Join(dir, "written")
	if err := syscall.Mkfifo(written, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(written, os.O_RDWR, 0) // a FIFO with a writer that says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	big := filepath.Join(dir, "big")
	hosttest.Write(t, big, strings.Repeat("x", 8<<20+1))
	for path, want := range map[string]string{
		dir:                        "not a regular file",
		fifo:                       "not a regular file",
		written:                    "not a regular file",
		"/dev/zero":                "not a regular file",
		big:                        "more than 8388608 bytes",
		filepath.Join(dir, "gone"): "no such file",
	} {
		if _, err := hostfs.ReadFile(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("ReadFile(%s): %v, want %q", path, err, want)
		}
		if path == big {
			want = "not a single value"
		}
		if _, err := hostfs.ReadValue(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadValue(%s): %v, want %q", path, err, want)
		}
	}
	if _, err := hostfs.ReadFile(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v is not fs.ErrNotExist", err)
	}
}

func TestReadValueTrimsAndBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "temp")
	for _, tt := range []struct{ text, want, err string }{
		{"45230\n", "45230", ""},
		{"  soc-thermal \n", "soc-thermal", ""},
		{strings.Repeat("9", 127), strings.Repeat("9", 127), ""},
		{strings.Repeat("9", 128), "", "128 bytes or more"},
		{"", "", "empty"},
		{"\n", "", "empty"},
	} {
		hosttest.Write(t, path, tt.text)
		got, err := hostfs.ReadValue(path)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestIdentityComesFromTheRoots(t *testing.T) {
	dir := t.TempDir()
	roots := hosttest.Roots(dir)
	if _, err := roots.BoardModel(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no device tree: %v is not fs.ErrNotExist", err)
	}
	hosttest.Write(t, roots.ProcPath("device-tree/model"), "Example Board \xff1\x00")
	hosttest.Write(t, roots.ProcPath("sys/kernel/random/boot_id"), "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n")
	hosttest.Write(t, roots.ProcPath("sys/kernel/osrelease"), "6.1.43-rk3588\n")
	for name, f := range map[string]func() (string, error){
		"Example Board \uFFFD1":                roots.BoardModel,
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8": roots.BootID,
		"6.1.43-rk3588":                        roots.KernelRelease,
	} {
		if got, err := f(); got != name || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, name)
		}
	}
	if got, want := roots.SysPath("class", "thermal"), filepath.Join(dir, "sys/class/thermal"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
