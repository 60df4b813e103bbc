// Package hosttest lays out small /proc and /sys trees for tests. A tree is one
// txtar archive; where it holds a board at several moments, each moment is a
// directory of its own with proc/ and sys/ below it.
package hosttest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// Unpack writes the files of the archive at path below a new temporary
// directory, which it returns.
func Unpack(t testing.TB, path string) string {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		if !filepath.IsLocal(f.Name) {
			t.Fatalf("%s: a file outside the tree: %s", path, f.Name)
		}
		Write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	return dir
}

// Write writes one file, and the directories it needs.
func Write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Roots returns the roots of the tree at dir.
func Roots(dir string) hostfs.Roots {
	return hostfs.Roots{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys")}
}
