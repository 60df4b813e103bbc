package salvage

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	largeBytes  = 256 << 20
	largeMemory = 16 << 20
	// largeReadings is how often the file could be read and summed up in the
	// processor time that a salvage may take: 12 s, of which a busy machine with two
	// cores took 60 readings, or 1.2 µs for each of 9.4 million samples.
	largeReadings = 100
)

// mustLarge makes a file of 256 MB at path that is full of samples and has no
// pages above them, and returns how many there are. The pages are those of the
// stock again and again, with other times in them.
func mustLarge(t testing.TB, path string) (rows int64) {
	t.Helper()
	s := mustStock(t)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	begin := s.pageOf[key{5000, 1}] // the stock up to its first page of samples
	template := leafPage(t, s)
	one := page{number: 2, size: pageSize, data: template}
	cells := one.cells(nil)
	used := make([]byte, pageSize)
	for i := 0; i+5 <= pageSize; i += 5 {
		used[i], used[i+4] = mapTree, 3
	}
	at := int64(1_600_000_000_000)
	for n := uint32(1); n <= largeBytes/pageSize; n++ {
		data := template
		switch {
		case n >= 2 && (n-2)%(pageSize/5+1) == 0:
			data = used
		case n < begin && n < 40:
			data = s.file[pageStart(n) : pageStart(n)+pageSize]
		default:
			for _, cellAt := range cells {
				at += 10
				cell := template[cellAt:]
				var whole [8]byte
				binary.BigEndian.PutUint64(whole[:], uint64(at))
				copy(cell[1+int(cell[1]):], whole[2:]) // six bytes, after the lengths and the types
			}
			rows += int64(len(cells))
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// leafPage returns a full leaf page of samples whose types are all alike.
func leafPage(t testing.TB, s stock) []byte {
	t.Helper()
	for _, number := range s.pageOf {
		data := append([]byte(nil), s.file[pageStart(number):pageStart(number)+pageSize]...)
		p := page{number: number, size: pageSize, data: data}
		if n := len(p.cells(nil)); p.kind() == indexLeaf && n > 35 {
			return data
		}
	}
	t.Fatal("no full page of samples")
	return nil
}

// cpuTime returns the processor time that this process took.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// reading returns the processor time that it takes to read a file and sum it up.
func reading(t testing.TB, path string) time.Duration {
	t.Helper()
	d, closed, err := openDevice(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed()
	start := cpuTime(t)
	var sum [2]uint32
	for at := int64(0); at < d.size; at += pageSize {
		data, _ := d.read(at, pageSize)
		sum = sumOf(binary.LittleEndian, sum, data)
	}
	return cpuTime(t) - start
}

// peak returns the most memory that this process had, and what it has now.
func peak(t testing.TB) (most, now int64) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(data)) {
		fmt.Sscanf(line, "VmHWM: %d kB", &most)
		fmt.Sscanf(line, "VmRSS: %d kB", &now)
	}
	return most << 10, now << 10
}

func TestALargeDatabaseIsSalvagedInLittleMemoryAndTime(t *testing.T) {
	if path := os.Getenv("SALVAGE_LARGE"); path != "" {
		_, before := peak(t)
		start, used := time.Now(), cpuTime(t)
		report, err := Run(t.Context(), path, path+"-new", Known{Device: "board-1"})
		if err != nil {
			t.Fatal(err)
		}
		took, used := time.Since(start), cpuTime(t)-used
		after, _ := peak(t)
		fmt.Printf("salvaged %d memory %d took %d used %d reading %d\n", report.Samples, after-before, took, used, reading(t, path))
		return
	}
	if testing.Short() {
		t.Skip("makes a file of 256 MB")
	}
	if raced {
		t.Skip("measures memory and time; make test runs it without the race detector too")
	}
	path := filepath.Join(t.TempDir(), "large.db")
	rows := mustLarge(t, path)
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "SALVAGE_LARGE="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var samples, memory, took, used, reading int64
	at := strings.Index(string(out), "salvaged ")
	if at < 0 {
		t.Fatalf("%s", out)
	}
	if _, err := fmt.Sscanf(string(out[at:]), "salvaged %d memory %d took %d used %d reading %d", &samples, &memory, &took, &used, &reading); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d samples of %d, %.1f MB of memory, %s, %s of processor time; reading and summing up the file %s",
		samples, rows, float64(memory)/(1<<20), time.Duration(took), time.Duration(used), time.Duration(reading))
	if samples < rows {
		t.Errorf("%d samples, want %d", samples, rows)
	}
	if memory > largeMemory {
		t.Errorf("%.1f MB of memory, want less than %d", float64(memory)/(1<<20), largeMemory>>20)
	}
	if used > largeReadings*reading {
		t.Errorf("it takes %d times as long as to read the file and sum it up, want %d at most", used/reading, largeReadings)
	}
}
