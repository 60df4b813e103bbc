package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadValueGivesUpAtOnceWhereNothingIsReady(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := readOnce(p[0]); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("got %v, want EAGAIN", err)
	}
}

func TestBootTimeIsTheUptimeOfTheKernel(t *testing.T) {
	before, err := BootTime()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	after, err := BootTime()
	if err != nil {
		t.Fatal(err)
	}
	up, err := time.ParseDuration(strings.Fields(string(data))[0] + "s")
	if err != nil {
		t.Fatal(err)
	}
	// The file has hundredths, rounded down.
	if up < before-10*time.Millisecond || up > after {
		t.Errorf("uptime %v is not between %v and %v", up, before, after)
	}
}

func TestSelfGrowsWithWhatThisProcessDoes(t *testing.T) {
	before, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	block := make([]byte, size)
	for i := range block {
		block[i] = byte(i * i)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "written"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(block[:4<<20]); err != nil {
		t.Fatal(err)
	}
	after, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.ResidentBytes - before.ResidentBytes; grown < size/2 {
		t.Errorf("resident memory grew by %d bytes, touched %d", grown, size)
	}
	if after.CPUSeconds <= before.CPUSeconds {
		t.Errorf("CPU seconds stood at %v", after.CPUSeconds)
	}
	// A temporary directory in memory is written without the block layer.
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err == nil && st.Type != unix.TMPFS_MAGIC {
		if written := after.WrittenBytes - before.WrittenBytes; written < 4<<20 {
			t.Errorf("written bytes grew by %d, wrote %d", written, 4<<20)
		}
	}
	if block[7] != 49 {
		t.Error("the block was not kept")
	}
}

func TestSelfFilesThatAreGarbledAreErrors(t *testing.T) {
	for _, text := range []string{"", "12", "12 x 3", "12 -3", "12 99999999999999999999"} {
		if n, err := parseResident([]byte(text)); err == nil {
			t.Errorf("statm %q gave %d", text, n)
		}
	}
	for _, text := range []string{"", "wchar: 3\n", "write_bytes: \n", "write_bytes: -1\n", "cancelled_write_bytes: 3\n"} {
		if n, err := parseWritten([]byte(text)); err == nil {
			t.Errorf("io %q gave %d", text, n)
		}
	}
	if n, err := parseResident([]byte("900 123 45 6 0 7 0\n")); n != 123 || err != nil {
		t.Errorf("statm: %d, %v", n, err)
	}
	if n, err := parseWritten([]byte("wchar: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 9\n")); n != 4096 || err != nil {
		t.Errorf("io: %d, %v", n, err)
	}
}

func TestFilesystemAgreesWithTheKernel(t *testing.T) {
	dir := t.TempDir()
	got, err := Filesystem(dir)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if want := st.Blocks * uint64(st.Frsize); got.Total != want {
		t.Errorf("total %d, want %d", got.Total, want)
	}
	if got.Available > got.Free || got.Free > got.Total {
		t.Errorf("not in order: %+v", got)
	}
	if _, err := Filesystem("/proc"); err == nil {
		t.Error("procfs has room")
	}
	if _, err := Filesystem(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestSpaceCountsBlocks(t *testing.T) {
	got, err := space(1000, 400, 350, 4096)
	if want := (Space{Total: 4096000, Free: 1638400, Available: 1433600}); got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, s := range [][4]uint64{{0, 0, 0, 4096}, {10, 11, 1, 4096}, {10, 1, 11, 4096}, {1 << 60, 0, 0, 4096}, {10, 1, 1, 0}} {
		if got, err := space(s[0], s[1], s[2], s[3]); err == nil {
			t.Errorf("%v gave %+v", s, got)
		}
	}
}

func FuzzSelfFiles(f *testing.F) {
	f.Add("900 123 45", "write_bytes: 4096\n")
	f.Add("1 "+strings.Repeat("9", 15), "write_bytes:"+strings.Repeat("9", 30))
	f.Fuzz(func(t *testing.T, statm, io string) {
		if n, err := parseResident([]byte(statm)); err == nil && n < 0 {
			t.Errorf("statm %q gave %d", statm, n)
		}
		if n, err := parseWritten([]byte(io)); err == nil && n < 0 {
			t.Errorf("io %q gave %d", io, n)
		}
	})
}
