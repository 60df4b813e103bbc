package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// residentKiB is how much of a mapping is in memory, by its first byte.
func residentKiB(t *testing.T, mapped []byte) int {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	of := fmt.Sprintf(`(?m)^%x-[\s\S]*?^Rss:\s+(\d+) kB`, uintptr(unsafe.Pointer(unsafe.SliceData(mapped))))
	found := regexp.MustCompile(of).FindSubmatch(smaps)
	if found == nil {
		t.Fatalf("no mapping %s", of)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOnlyPagesThatAreInAFileAreUnmapped(t *testing.T) {
	const size = 1 << 20
	path := filepath.Join(t.TempDir(), "file")
	text := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(mode int) []byte {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		mapped, err := unix.Mmap(int(file.Fd()), 0, size, mode, unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(mapped) })
		return mapped
	}
	clean, relocated, writable := open(unix.PROT_READ), open(unix.PROT_READ|unix.PROT_WRITE), open(unix.PROT_READ|unix.PROT_WRITE)
	if !bytes.Equal(clean, text) || residentKiB(t, clean) != size>>10 {
		t.Fatal("the file is not in memory")
	}
	relocated[5], writable[7] = 'x', 'y'
	if err := unix.Mprotect(relocated, unix.PROT_READ); err != nil { // as the linker leaves its tables
		t.Fatal(err)
	}
	if err := unmapUnused(); err != nil {
		t.Fatal(err)
	}
	if n := residentKiB(t, clean); n != 0 {
		t.Errorf("%d KiB of a file that nobody uses are in memory", n)
	}
	if !bytes.Equal(clean, text) || relocated[5] != 'x' || writable[7] != 'y' {
		t.Error("what was in memory is not there any more")
	}
}
