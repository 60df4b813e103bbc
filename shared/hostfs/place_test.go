package hostfs

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAPathIsResolvedAsFarAsItIsThere(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	link := func(name, target string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o750); err != nil {
		t.Fatal(err)
	}
	link("folder", "real")
	link("memory", "/dev/shm")
	link("again", "memory")
	link("dangling", "/dev/shm/not-there-yet")
	link("near", "real/not-there-yet")
	link("loop", "loop")
	for path, want := range map[string]string{
		"real/a": dir + "/real/a", "folder/a/b": dir + "/real/a/b", "a/../folder/x": dir + "/real/x",
		"memory/m.db": "/dev/shm/m.db", "again/a/m.db": "/dev/shm/a/m.db", "dangling": "/dev/shm/not-there-yet",
		"dangling/m.db": "/dev/shm/not-there-yet/m.db", "near": dir + "/real/not-there-yet",
	} {
		got := Resolve(filepath.Join(dir, path))
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		if below := BelowKernel(got); below != (want[:5] == "/dev/") {
			t.Errorf("%s: below the kernel's: %t", got, below)
		}
	}
	Resolve(filepath.Join(dir, "loop/m.db")) // ends
}
