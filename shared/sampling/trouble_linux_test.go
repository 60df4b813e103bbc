package sampling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/repair"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// mustMount mounts a small filesystem, or skips the test with the reason.
func mustMount(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("mounting is not permitted here: mount %s: %s", strings.Join(args, " "), bytes.TrimSpace(out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// mustMountExt4 mounts an ext4 of some megabytes.
func mustMountExt4(t *testing.T, megabytes, block int) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(megabytes)<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", strconv.Itoa(block), "-m", "0", image).CombinedOutput(); err != nil {
		t.Skipf("no ext4 can be made here: %v %s", err, out)
	}
	return mustMount(t, "-o", "loop", image)
}

// fill takes what room is left in dir, but for some bytes, and returns the file.
func fill(t *testing.T, dir string, but int64) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Statfs_t
	block := make([]byte, 4096)
	for {
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if int64(st.Bavail)*st.Bsize <= but {
			break
		}
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

// owned are rounds on a database at path, as the collector has them.
func owned(t *testing.T, path string, log *strings.Builder) (*Sampler, *database) {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	db := store.New(path, store.Options{Device: "d"})
	t.Cleanup(func() { db.Close() })
	if err := db.StartSession(t.Context(), store.Session{ID: "s", Start: time.Now(), Metadata: map[string]string{"boot_id": "b"}}); err != nil {
		t.Fatal(err)
	}
	return New(db, everyTenMany(), status.Daemon{Name: "metrics-collector", BootID: "b", Started: time.Now()}, "ship", logger), &database{db, repair.New(db, logger)}
}

// A database with what opens and repairs it.
type database struct {
	*store.DB
	owner *repair.Owner
}

// perRound is how many samples a round of everyTenMany brings.
const perRound = 50

func mustCount(t *testing.T, db *database, rounds int, log *strings.Builder) store.Ledger {
	t.Helper()
	l, err := storetest.Audit(t.Context(), db)
	if err != nil {
		t.Errorf("the books do not balance: %v", err)
	}
	if got := pendingNames(t, db.DB)["many"]; got != rounds*perRound {
		t.Errorf("%d samples of %d rounds are stored, want %d\n%s", got, rounds, rounds*perRound, log.String())
	}
	return l
}

// A driver is rounds at moments of its own.
type driver struct {
	*testing.T
	r    *Sampler
	db   *database
	done int
	at   time.Duration
}

// round runs one step of the repair and one round, and returns what they said.
func (d *driver) round() error {
	_, opened := d.db.owner.Step(d.Context())
	d.at += 10 * time.Second
	d.done++
	_, err := d.r.collectAt(d.Context(), d.r.all, at(now2026, d.at))
	return errors.Join(err, opened)
}

func TestAFullDiskLosesNothingAndTheDaemonsRecover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, kind := range []string{"tmpfs", "ext4"} {
		for _, left := range []int64{0, 40 << 10} {
			t.Run(fmt.Sprintf("%s, %d KiB left", kind, left>>10), func(t *testing.T) {
				var dir string
				if kind == "tmpfs" {
					dir = mustMount(t, "-t", "tmpfs", "-o", "size=40m", "tmpfs")
				} else {
					dir = mustMountExt4(t, 48, 4096)
				}
				var log strings.Builder
				r, db := owned(t, filepath.Join(dir, "metrics.db"), &log)
				d := &driver{T: t, r: r, db: db}
				for range 3 {
					if err := d.round(); err != nil {
						t.Fatal(err)
					}
				}
				ballast := db.Path() + ".ballast"
				if info, err := os.Stat(ballast); err != nil || info.Size() < 1<<20 || info.Mode().Perm() != 0o600 {
					t.Fatalf("no ballast: %v", err)
				}
				filler := fill(t, dir, left)
				failed := 0
				for until := 500; d.done < until; { // the ballast's room lasts for some
					err := d.round()
					if err != nil && !store.IsFull(err) {
						t.Fatalf("round %d: %v", d.done, err)
					}
					if err != nil {
						if failed++; failed == 1 {
							until = d.done + 60
						}
					}
				}
				if _, err := os.Stat(ballast); err == nil {
					t.Error("the ballast was not released")
				}
				if failed == 0 {
					t.Error("the disk was never full")
				}
				if failed > 5 {
					t.Errorf("%d of 60 rounds failed: the ballast was of no use", failed)
				}
				// Now nothing helps any more.
				filler2 := fill2(t, dir)
				for range 20 {
					_ = d.round() // what it says was seen above; at most some pages are left in the log
				}
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filler2); err != nil {
					t.Fatal(err)
				}
				if err := d.round(); err != nil {
					t.Fatalf("there is room again: %v", err)
				}
				if l := mustCount(t, db, d.done, &log); l.Lost != 0 {
					t.Errorf("%+v", l)
				}
				db.owner.KeepBallast(time.Now().Add(time.Hour))
				if _, err := os.Stat(ballast); err != nil {
					t.Errorf("the ballast was not taken up again: %v\n%s", err, log.String())
				}
				if n := strings.Count(log.String(), "was released"); n != 1 {
					t.Errorf("the release was said %d times:\n%s", n, log.String())
				}
			})
		}
	}
}

// With blocks of 1 KiB, which mkfs.ext4 takes for small filesystems, SQLite's
// map of the WAL's index can lack a block: writing to it raises SIGBUS.
func TestADiskThatIsFullAtTheStartEndsNoDaemon(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if dir := os.Getenv("FULL_DISK"); dir != "" {
		fullAtTheStart(t, dir)
		return
	}
	for _, kib := range []int64{0, 12, 20, 28, 36, 60} {
		dir := mustMountExt4(t, 16, 1024)
		fill(t, dir, kib<<10)
		cmd := exec.Command(os.Args[0], "-test.run=^TestADiskThatIsFullAtTheStartEndsNoDaemon$")
		cmd.Env = append(os.Environ(), "FULL_DISK="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%d KiB free: %v\n%s", kib, err, out)
		}
	}
}

func fullAtTheStart(t *testing.T, dir string) {
	var log strings.Builder
	r, db := owned(t, filepath.Join(dir, "metrics.db"), &log)
	d := &driver{T: t, r: r, db: db}
	for range 3 {
		if err := d.round(); !store.IsFull(err) {
			t.Error(err)
		}
	}
	must(t, os.Remove(filepath.Join(dir, "filler")))
	must(t, d.round())
	mustCount(t, db, d.done, &log)
	must(t, db.Close())
}

// fill2 takes the rest.
func fill2(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler2")
	if err := os.Rename(fill2At(t, dir), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func fill2At(t *testing.T, dir string) string {
	t.Helper()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	return fill(t, sub, 0)
}

// Errors that a failing card gives are injected into the system calls of a
// process that runs rounds: each kind for a while, and then no more.
func TestAFailingDiskIsSurvived(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if dir := os.Getenv("FAILING_DISK"); dir != "" {
		failingDisk(t, dir)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	for _, inject := range []string{
		"fsync,fdatasync:error=EIO:when=15..20",
		"fsync,fdatasync:error=EIO:when=15..15", // once: nobody knows what became of it
		"pread64:error=EIO:when=150..160",
		"pread64:error=EIO:when=220..223",
		"pwrite64:error=EIO:when=100..120",
		"pwrite64:error=EROFS:when=100..120",
		"pwrite64:error=ENOSPC:when=100..120",
	} {
		t.Run(inject, func(t *testing.T) {
			dir := t.TempDir()
			call, _, _ := strings.Cut(inject, ":")
			cmd := exec.Command(strace, "-f", "-qq", "-o", filepath.Join(dir, "strace"), "-e", "trace="+call, "-e", "inject="+inject,
				os.Args[0], "-test.run=^TestAFailingDiskIsSurvived$", "-test.v")
			cmd.Env = append(os.Environ(), "FAILING_DISK="+dir)
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte("Operation not permitted")) {
				t.Skipf("tracing is not permitted here: %s", out)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			trace, err := os.ReadFile(filepath.Join(dir, "strace"))
			must(t, err)
			if !bytes.Contains(trace, []byte("(INJECTED)")) {
				t.Error("nothing was injected: the test shows nothing")
			}
			t.Logf("%s", out)
		})
	}
}

func failingDisk(t *testing.T, dir string) {
	runtime.LockOSThread() // strace counts the calls of each thread
	var log strings.Builder
	r, db := owned(t, filepath.Join(dir, "metrics.db"), &log)
	d := &driver{T: t, r: r, db: db}
	failed, good := 0, 0
	for d.done < 60 || good < 20 && d.done < 1500 {
		good++
		if err := d.round(); err != nil {
			failed, good = failed+1, 0
			t.Logf("round %d: %v", d.done, err)
		}
		if d.done%20 == 0 {
			if _, err := db.Checkpoint(t.Context(), 0); err != nil {
				t.Logf("round %d: %v", d.done, err)
			}
		}
	}
	t.Logf("%d of %d rounds failed", failed, d.done)
	if good < 20 {
		t.Errorf("still failing\n%s", log.String())
	}
	if n, m := strings.Count(log.String(), "is being opened again"), strings.Count(log.String(), "is open again"); n > m+1 {
		t.Errorf("said %d times that it is opened again, and %d times that it is open:\n%s", n, m, log.String())
	}
	for range 200 { // the injection may end only here
		if _, err := storetest.Audit(t.Context(), db); err != nil {
			t.Logf("counting: %v", err)
		}
	}
	if l := mustCount(t, db, d.done, &log); l.Lost != 0 {
		t.Errorf("%+v\n%s", l, log.String())
	}
}

func TestADatabaseThatCannotBeOpenedIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name     string
		hide, un func(t *testing.T, path string)
	}{
		{"a directory in its place", func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o755)) }, func(t *testing.T, p string) { must(t, os.Remove(p)) }},
		{"a symbolic link", func(t *testing.T, p string) { must(t, os.Symlink("elsewhere", p)) }, func(t *testing.T, p string) { must(t, os.Remove(p)) }},
		{"a file in the directory's place", func(t *testing.T, p string) {
			must(t, os.Remove(filepath.Dir(p)))
			must(t, os.WriteFile(filepath.Dir(p), nil, 0o644))
		}, func(t *testing.T, p string) { must(t, os.Remove(filepath.Dir(p))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data", "metrics.db")
			must(t, os.Mkdir(filepath.Dir(path), 0o755))
			c.hide(t, path)
			var log strings.Builder
			r, db := owned(t, path, &log)
			d := &driver{T: t, r: r, db: db}
			for range 3 {
				if err := d.round(); err == nil || repair.Refused(err) || !strings.Contains(err.Error(), "wait in memory") {
					t.Errorf("%v", err)
				}
			}
			c.un(t, path)
			if err := d.round(); err != nil {
				t.Fatal(err)
			}
			mustCount(t, db, d.done, &log)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asNobody runs this test again as a user without rights, and says so with true.
func asNobody(t *testing.T, dir string) bool {
	t.Helper()
	if os.Getenv("AS_NOBODY") != "" {
		return false
	}
	// The test's program lies where that user may not go.
	program := filepath.Join(dir, "program")
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	must(t, os.Chmod(program, 0o755))
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AS_NOBODY="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	return true
}

func TestAWrongModeIsReportedAndAwaited(t *testing.T) {
	base := os.Getenv("AS_NOBODY")
	if base == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root can become another user")
		}
		var err error
		if base, err = os.MkdirTemp("", "nobody"); err != nil { //nolint:usetesting // above a TempDir is a directory of root's alone
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(base) })
		must(t, os.Chown(base, 65534, 65534))
	}
	if asNobody(t, base) {
		return
	}
	path := filepath.Join(base, "metrics.db")
	var log strings.Builder
	r, db := owned(t, path, &log)
	d := &driver{T: t, r: r, db: db}
	must(t, d.round())
	must(t, db.Close())
	for _, mode := range []os.FileMode{0, 0o440} {
		r2, db2 := owned(t, path, &log)
		d2 := &driver{T: t, r: r2, db: db2, at: d.at}
		must(t, os.Chmod(path, mode))
		err := d2.round()
		if err == nil || !strings.Contains(err.Error(), "belongs to user") || !strings.Contains(err.Error(), fmt.Sprintf("mode %04o", mode)) {
			t.Errorf("mode %04o: %v", mode, err)
		}
		must(t, os.Chmod(path, 0o640))
		if err := d2.round(); err != nil {
			t.Errorf("mode %04o put right: %v", mode, err)
		}
		d.at, d.done = d2.at, d.done+d2.done
		mustCount(t, db2, d.done, &log)
		must(t, db2.Close())
	}
	d.r, d.db = owned(t, path, &log)
	dir, err := os.Stat(base)
	must(t, err)
	must(t, os.Chmod(base, 0o500)) // nothing can be made beside it
	defer os.Chmod(base, dir.Mode())
	must(t, d.round())
}

func everyTenMany() []collect.Scheduled {
	many := collectFunc(func(now time.Time) ([]metric.Sample, error) {
		var all []metric.Sample
		for i := range perRound {
			all = append(all, metric.Sample{Name: "many", Tags: metric.Tags("i", fmt.Sprint(i)), TimeMs: now.UnixMilli(), Value: float64(i) + 0.5})
		}
		return all, nil
	})
	return []collect.Scheduled{{Collector: many, Name: "many", Interval: 10 * time.Second, Priority: 2}}
}

func TestSamplesInMemoryAreStoredAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	must(t, os.Mkdir(path, 0o755))
	var log strings.Builder
	r, db := owned(t, path, &log)
	d := &driver{T: t, r: r, db: db}
	for range 3 {
		if err := d.round(); err == nil {
			t.Error("stored in a directory")
		}
	}
	if err := r.Stop(t.Context()); err == nil || !strings.Contains(log.String(), "are lost") {
		t.Errorf("%v; the loss was not said:\n%s", err, log.String())
	}
	must(t, os.Remove(path))
	_, err := db.owner.Step(t.Context())
	must(t, err)
	must(t, r.Stop(t.Context()))
	mustCount(t, db, d.done, &log)
}

// What is left for health says what happened.
func TestARepairIsLeftForHealthToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.db")
	var log strings.Builder
	r, db := owned(t, path, &log)
	d := &driver{T: t, r: r, db: db}
	for range 100 {
		must(t, d.round())
	}
	if _, err := db.Checkpoint(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	must(t, r.Stop(t.Context()))
	must(t, db.Close())
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 16<<10), info.Size()/2/1024*1024)
	must(t, errors.Join(err, f.Close()))

	r, db = owned(t, path, &log)
	d.r, d.db = r, db
	must(t, d.round())
	must(t, d.round())
	all, err := db.Statuses(t.Context())
	must(t, err)
	for _, s := range all {
		if s.Component != "damage" {
			continue
		}
		var detail struct {
			DamagedMs, Salvaged int64
			Lost                *int64
			Kept                string
		}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(s.Detail, "damaged_ms", "DamagedMs")), &detail); err != nil || detail.Salvaged == 0 || detail.Lost == nil || detail.Kept == "" || detail.DamagedMs == 0 {
			t.Errorf("%s, %v", s.Detail, err)
		}
		if l, err := storetest.Audit(t.Context(), db); err != nil || l.Lost != *detail.Lost {
			t.Errorf("%+v, %v; the row says %d lost", l, err, *detail.Lost)
		}
		return
	}
	t.Errorf("no word of it among %v\n%s", all, log.String())
}
