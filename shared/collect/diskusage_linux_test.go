package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/hostfs/hosttest"
)

// A fuseServer is a filesystem in user space of 100 MiB with nothing in it. While
// it is silent it answers nothing. Source: include/uapi/linux/fuse.h.
type fuseServer struct {
	fd     int
	silent atomic.Bool
	spoken chan struct{} // closed once it may answer again
}

// mountFuse mounts a filesystem in user space at a new folder; source is what the
// mount table says of its device.
func mountFuse(t *testing.T, source string) (*fuseServer, string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no filesystems in user space here: %v", err)
	}
	dir := t.TempDir()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount(source, dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		t.Skipf("this user may not mount: %v", err)
	}
	s := &fuseServer{fd: fd, spoken: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		s.speak()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		<-done
		unix.Close(fd)
	})
	return s, dir
}

func (s *fuseServer) speak() {
	if s.silent.CompareAndSwap(true, false) {
		close(s.spoken)
	}
}

func (s *fuseServer) serve() {
	const lookup, getattr, statfs, opInit = 1, 3, 17, 26
	order := binary.NativeEndian
	buf := make([]byte, 1<<17)
	for {
		n, err := unix.Read(s.fd, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < 40 {
			return // unmounted
		}
		out := make([]byte, 16)
		fail := unix.Errno(0)
		switch order.Uint32(buf[4:]) {
		case opInit:
			out = append(out, make([]byte, 64)...)
			order.PutUint32(out[16:], 7)
			order.PutUint32(out[20:], 31)
			order.PutUint32(out[36:], 1<<16) // max_write
		case getattr:
			out = append(out, make([]byte, 104)...)
			order.PutUint64(out[32:], 1) // ino
			order.PutUint32(out[92:], unix.S_IFDIR|0o755)
			order.PutUint32(out[96:], 2) // nlink
		case statfs:
			out = append(out, make([]byte, 80)...)
			order.PutUint64(out[16:], 25600)
			order.PutUint64(out[24:], 12800)
			order.PutUint64(out[32:], 12800)
			order.PutUint32(out[56:], 4096)
			order.PutUint32(out[64:], 4096)
		case lookup:
			fail = unix.ENOENT
		default:
			fail = unix.ENOSYS
		}
		if s.silent.Load() {
			<-s.spoken
		}
		order.PutUint32(out, uint32(len(out)))
		order.PutUint32(out[4:], uint32(-int32(fail)))
		order.PutUint64(out[8:], order.Uint64(buf[8:]))
		if _, err := unix.Write(s.fd, out); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

// totals returns disk.total_bytes by mountpoint.
func totals(t *testing.T, c Collector) (map[string]float64, error) {
	t.Helper()
	samples, err := c.Collect(time.Now())
	got := map[string]float64{}
	for _, s := range samples {
		if s.Name == "disk.total_bytes" {
			got[strings.TrimSuffix(strings.TrimPrefix(s.Tags, `{"mountpoint":"`), `"}`)] = s.Value
		}
	}
	return got, err
}

func TestAFilesystemThatHangsLosesOnlyItsOwnValues(t *testing.T) {
	server, dir := mountFuse(t, "/dev/sda1")
	c, err := newDiskUsage(hostfs.Roots{Proc: "/proc"}, config.MetricConfig{}, "config")
	if err != nil {
		t.Fatal(err)
	}
	before, err := totals(t, c)
	if before[dir] != 100<<20 || before["/"] == 0 || Failed(err) != 0 {
		t.Fatalf("before: %v, %v", before, err)
	}
	server.silent.Store(true)
	delete(before, dir)
	for round := range 5 {
		begun := time.Now()
		got, err := totals(t, c)
		if d := cmp.Diff(before, got); d != "" || Failed(err) != 1 || !strings.Contains(fmt.Sprint(err), "has not answered") {
			t.Errorf("round %d while it hangs: %v\n-want +got:\n%s", round, err, d)
		}
		if took := time.Since(begun); round > 0 && took >= answerWait {
			t.Errorf("round %d waited for what is known to hang: %s", round, took)
		}
	}
	if n := len(c.asked); n > len(before)+1 {
		t.Errorf("%d questions for %d filesystems", n, len(before)+1)
	}
	server.speak()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := totals(t, c)
		if got[dir] == 100<<20 && Failed(err) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after it answered: %v, %v", got, err)
		}
	}
}

// TestARoundWaitsOnlyForFilesystemsThatAnswerInTime has filesystems that hang,
// answer late, and answer, in turn.
func TestARoundWaitsOnlyForFilesystemsThatAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delay := map[string]time.Duration{}
		c := &diskUsageCollector{asked: map[askKey]*asking{}, ask: func(f filesystem) room {
			time.Sleep(delay[f.points[0]])
			return room{point: f.points[0]}
		}}
		all := []filesystem{{device: "1", points: []string{"/a"}}, {device: "2", points: []string{"/b"}}}
		round := func(want string, waited time.Duration) {
			t.Helper()
			begun := time.Now()
			got := ""
			for _, r := range c.askAll(all) {
				got += map[bool]string{true: "+", false: "-"}[r.err == nil]
			}
			if took := time.Since(begun); got != want || took != waited {
				t.Errorf("%s after %s, want %s after %s", got, took, want, waited)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		round("++", 0)
		delay["/b"] = 700 * time.Millisecond
		round("+-", answerWait)
		round("+-", 0)
		delay["/b"] = 90 * time.Second
		round("+-", 0)
		round("+-", 0) // still the same question
		delay["/b"] = 0
		c.askAll(all) // its late answer is dropped, and whether the new one comes in time is chance
		time.Sleep(time.Minute)
		round("++", 0)
		delay["/a"] = answerWait / 2
		round("++", answerWait/2)
		all = all[:1]
		round("+", answerWait/2)
		if len(c.asked) != 1 {
			t.Errorf("%d filesystems are remembered", len(c.asked))
		}
	})
}

func TestQuestionsWithoutAnswerAreBounded(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var asked atomic.Int32
	c := &diskUsageCollector{asked: map[askKey]*asking{}, ask: func(filesystem) room {
		asked.Add(1)
		<-release
		return room{}
	}}
	for i := range 400 {
		f := filesystem{device: fmt.Sprint(i), points: []string{"/stick"}}
		c.forget([]filesystem{f})
		if _, err := c.start(f, time.Now()); i > 2*maxMounts && err == nil {
			t.Fatalf("filesystem %d is asked", i)
		}
	}
}

func TestAFileThatMayNotBeReadIsANoteAndNotAFault(t *testing.T) {
	roots := hosttest.Roots(t.TempDir())
	hosttest.Write(t, roots.ProcPath("self/mountinfo"), `30 1 8:1 / / rw - ext4 /dev/root rw
31 30 8:17 / /media/user/STICK rw - ext4 /dev/sdq1 rw
32 30 0:44 / /blockless rw - devtmpfs /dev/sdr1 rw
33 30 8:33 / /dead rw - ext4 /dev/sds1 rw
`)
	answers := map[string]error{
		"/media/user/STICK": &os.PathError{Op: "statfs", Path: "/media/user/STICK", Err: unix.EACCES},
		"/blockless":        &os.PathError{Op: "statfs", Path: "/blockless", Err: hostfs.ErrNoBlocks},
		"/dead":             &os.PathError{Op: "statfs", Path: "/dead", Err: unix.ENOTCONN},
	}
	collect := func(cfg config.MetricConfig) (points []string, err error) {
		c, err := newDiskUsage(roots, cfg, "config")
		if err != nil {
			t.Fatal(err)
		}
		c.ask = func(f filesystem) room {
			return room{point: f.points[0], space: hostfs.Space{Total: 1}, err: answers[f.points[0]]}
		}
		got, err := totals(t, c)
		for p := range got {
			points = append(points, p)
		}
		return points, err
	}
	got, err := collect(config.MetricConfig{})
	if len(got) != 1 || Failed(err) != 1 || len(Notes(err)) != 2 || !strings.Contains(string(Notes(err)[0]), `"/blockless" is left out`) {
		t.Errorf("%v, %v", got, err)
	}
	// Whoever names a mountpoint wants its figures.
	if got, err := collect(config.MetricConfig{Mountpoints: []string{"/media/user/STICK", "/blockless"}}); len(got) != 0 || Failed(err) != 2 {
		t.Errorf("configured: %v, %v", got, err)
	}
}

func TestDiskUsageAsksTheFilesystem(t *testing.T) {
	roots, here := hosttest.Roots(t.TempDir()), t.TempDir()
	escaped := strings.ReplaceAll(here, " ", `\040`)
	file := filepath.Join(here, "file")
	hosttest.Write(t, file, "")
	hosttest.Write(t, roots.ProcPath("mounts"), "overlay / overlay rw 0 0\n/dev/sda1 "+file+" ext4 rw 0 0\n/dev/sda1 "+escaped+" ext4 rw 0 0\n/dev/null "+escaped+"/x ext4 rw 0 0\n")
	space, err := hostfs.Filesystem(here)
	if err != nil {
		t.Fatal(err)
	}
	points := func(cfg config.MetricConfig) (map[string]float64, error) {
		c, err := newDiskUsage(roots, cfg, "config")
		if err != nil {
			t.Fatal(err)
		}
		return totals(t, c)
	}
	root, err := hostfs.Filesystem("/")
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]float64{"/": float64(root.Total), here: float64(space.Total)}
	got, err := points(config.MetricConfig{})
	if d := cmp.Diff(both, got); d != "" || err != nil {
		t.Errorf("by itself: %v\n%s", err, d)
	}
	got, err = points(config.MetricConfig{Mountpoints: []string{"/", here + "/", "/not/mounted"}})
	if d := cmp.Diff(both, got); d != "" || Failed(err) != 1 || !strings.Contains(err.Error(), `nothing is mounted at "/not/mounted"`) {
		t.Errorf("configured: %v\n%s", err, d)
	}
	// The table of this process comes before that of the system.
	hosttest.Write(t, roots.ProcPath("self/mounts"), "overlay / overlay rw 0 0\ngarbage\n")
	got, err = points(config.MetricConfig{})
	if d := cmp.Diff(map[string]float64{"/": float64(root.Total)}, got); d != "" || Failed(err) != 1 {
		t.Errorf("in a container: %v\n%s", err, d)
	}
	// A mountpoint that a later mount hides is not one.
	hosttest.Write(t, roots.ProcPath("self/mountinfo"), "1 0 0:9 / / rw - overlay overlay rw\n2 1 8:1 / "+escaped+" rw - ext4 /dev/sda1 rw\n3 1 8:2 / "+filepath.Dir(escaped)+" rw - ext4 /dev/sdb1 rw\n")
	got, err = points(config.MetricConfig{Mountpoints: []string{here}})
	if len(got) != 0 || Failed(err) != 1 || !strings.Contains(err.Error(), "nothing is mounted at") {
		t.Errorf("hidden: %v, %v", got, err)
	}
}
