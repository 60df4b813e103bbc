package repair

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/store"
)

// mustMount mounts a small filesystem over dir, or skips the test with the reason.
func mustMount(t *testing.T, dir string) (umount func()) {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting is not permitted here: %s", bytes.TrimSpace(out))
	}
	mounted := true
	umount = func() {
		if !mounted {
			return
		}
		mounted = false
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	}
	t.Cleanup(umount)
	return umount
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestNoDatabaseIsMadeOnTheDiskBelowAMountPointThatWentAway(t *testing.T) {
	for _, sub := range []string{"", "data"} {
		mount := t.TempDir()
		umount := mustMount(t, mount)
		path := filepath.Join(mount, sub, "metrics.db")
		var log bytes.Buffer
		db := mustOwn(t, path, &log)
		mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
		// Kept mounted elsewhere, the filesystem lives on.
		other := t.TempDir()
		if out, err := exec.Command("mount", "--bind", mount, other).CombinedOutput(); err != nil {
			t.Skipf("no bind mount here: %s", out)
		}
		t.Cleanup(func() { exec.Command("umount", "-l", other).Run() })
		umount()
		for range 3 {
			if err := db.Mend(t.Context()); !errors.Is(err, errUnmounted) || Refused(err) {
				t.Errorf("without its filesystem: %v", err)
			}
		}
		if _, err := db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: tick(2000, 20)}}}); err == nil {
			t.Error("stored without its filesystem")
		}
		if made := names(t, mount); len(made) > 0 {
			t.Errorf("made on the disk below: %v", made)
		}
		if out, err := exec.Command("mount", "--bind", other, mount).CombinedOutput(); err != nil {
			t.Fatalf("mount it again: %s", out)
		}
		t.Cleanup(func() { exec.Command("umount", "-l", mount).Run() })
		if err := db.Mend(t.Context()); err != nil {
			t.Fatalf("mounted again: %v\n%s", err, log.String())
		}
		if l := mustAudit(t, db); l != (store.Ledger{Captured: 20, Pending: 20}) {
			t.Errorf("%+v\n%s", l, log.String())
		}
		mustWork(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFilesystemThatIsMountedOverTheDatabaseIsUsed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "metrics.db")
	var log bytes.Buffer
	db := mustOwn(t, path, &log)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	umount := mustMount(t, dir)
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What only the old filesystem has is rescued from the open file.
	if l := mustAudit(t, db); l.Captured != 20 || l.Pending != 20 {
		t.Errorf("%+v\n%s", l, log.String())
	}
	mustWork(t, db)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	umount()
}

func TestAFilesystemThatBecomesReadOnlyIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	mustMount(t, dir)
	remount := func(how string) {
		if out, err := exec.Command("mount", "-o", "remount,"+how, dir).CombinedOutput(); err != nil {
			t.Skipf("remount: %s", out)
		}
	}
	path := filepath.Join(dir, "metrics.db")
	var log bytes.Buffer
	db := mustOwn(t, path, &log)
	mustRecord(t, db, store.Update{Groups: []store.Group{{Samples: tick(1000, 20)}}})
	if err := db.Close(); err != nil { // a file that is open for writing keeps it from becoming so
		t.Fatal(err)
	}
	remount("ro")
	db = notYet(t, path, &log)
	for range 2 {
		if err := db.Mend(t.Context()); err == nil {
			t.Error("opened on a filesystem that cannot be written")
		}
	}
	remount("rw")
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := mustAudit(t, db); l != (store.Ledger{Captured: 20, Pending: 20}) {
		t.Errorf("%+v\n%s", l, log.String())
	}
	if kept, err := Kept(path); err != nil || len(kept) > 0 {
		t.Errorf("kept %v, %v", kept, err)
	}
}

func TestNothingIsMadeBelowTheKernelsDirectories(t *testing.T) {
	link := filepath.Join(t.TempDir(), "data")
	if err := os.Symlink("/dev/shm", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/dev/metrics/metrics.db", "/dev/shm/metrics-of-a-test/metrics.db", "/proc/metrics.db", "/sys/x/metrics.db",
		"/dev/../dev/x/metrics.db", filepath.Join(link, "metrics-of-a-test", "metrics.db"),
	} {
		db := notYet(t, path, &bytes.Buffer{})
		if err := db.Mend(t.Context()); !errors.Is(err, errNoPlace) || !Refused(err) {
			t.Errorf("%s: %v", path, err)
		}
		if err := Reopen(t.Context(), store.New(path, store.Options{}), discard()); !errors.Is(err, errNoPlace) {
			t.Errorf("the shipper: %s: %v", path, err)
		}
		if _, err := os.Stat(filepath.Dir(path)); err == nil && strings.Contains(path, "metrics-of-a-test") {
			t.Errorf("%s was made", filepath.Dir(path))
		}
	}
	for _, path := range []string{"/devices/metrics.db", "/var/lib/x/metrics.db", "metrics.db"} {
		if err := checkPlace(path, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestAFilesystemThatIsNotMountedAtTheStartIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	fstab := filepath.Join(t.TempDir(), "fstab")
	path := filepath.Join(dir, "a disk", "data", "metrics.db")
	table := "# a comment\nproc /proc proc defaults 0 0\n\nUUID=1 " + strings.ReplaceAll(filepath.Join(dir, "a disk"), " ", `\040`) + " ext4 nofail 0 2\nnone swap swap sw 0 0\n"
	if err := os.WriteFile(fstab, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	db := notYet(t, path, &log)
	db.owner.fstab = fstab
	if err := db.Mend(t.Context()); !errors.Is(err, errUnmounted) || Refused(err) {
		t.Errorf("%v", err)
	}
	if made := names(t, dir); len(made) > 0 {
		t.Errorf("made below: %v", made)
	}
	// An existing database there is used.
	db = notYet(t, path, &log)
	db.owner.fstab = filepath.Join(dir, "none")
	if err := db.Mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = notYet(t, path, &log)
	db.owner.fstab = fstab
	if err := db.Mend(t.Context()); err != nil {
		t.Error(err)
	}
}

func FuzzMountTablesAreReadWithAnyContents(f *testing.F) {
	f.Add("UUID=1 /mnt/a\\040b ext4 defaults 0 2\n", "/mnt/a b/metrics.db")
	f.Add("x \\1 \\999 \\", "/")
	f.Fuzz(func(t *testing.T, table, path string) {
		for _, at := range mountPoints(strings.NewReader(table), 1) {
			if !strings.HasPrefix(at, "/") {
				t.Errorf("%q is no mount point", at)
			}
		}
		if unescape(unescape("plain")) != "plain" || len(unescape(table)) > len(table) {
			t.Error("an escape grew")
		}
	})
}
