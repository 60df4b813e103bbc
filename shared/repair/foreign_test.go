package repair

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taniwha3/thugshells/shared/store"
)

func TestAForeignDatabaseIsLeftUntouched(t *testing.T) {
	for _, c := range []struct {
		name    string
		make    func(t *testing.T, path string)
		refused bool // no use in trying again
		says    string
	}{
		{"text", func(t *testing.T, p string) {
			if err := os.WriteFile(p, []byte(strings.Repeat("root:x:0:0:root:/root:/bin/bash\n", 400)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, true, "storage.path"},
		{"newer schema", func(t *testing.T, p string) {
			mustStock(t, p)
			mustExec(t, p, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later')")
		}, true, "newer version"},
		{"newer schema, damaged", func(t *testing.T, p string) {
			mustStock(t, p)
			mustExec(t, p, "INSERT INTO schema_version (version, applied_at) VALUES (4, 'later')")
			overwrite(t, p, size(t, p)/2/store.PageSize*store.PageSize, make([]byte, 10*store.PageSize))
		}, true, "newer version"},
		{"another program's", func(t *testing.T, p string) {
			mustExec(t, p, "CREATE TABLE recipes (id INTEGER)")
		}, true, "not a metrics database"},
		{"a directory", func(t *testing.T, p string) {
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}, false, "directory"},
		{"a FIFO", func(t *testing.T, p string) {
			if err := syscall.Mkfifo(p, 0o644); err != nil {
				t.Fatal(err)
			}
		}, false, "FIFO"},
		{"a symbolic link", func(t *testing.T, p string) {
			if err := os.Symlink("elsewhere.db", p); err != nil {
				t.Fatal(err)
			}
		}, false, "symbolic link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.db")
			c.make(t, path)
			before := listing(t, path)
			db, err := own(t.Context(), path, io.Discard)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if Refused(err) != c.refused || !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused %v: %v", Refused(err), err)
			}
			if after := listing(t, path); after != before {
				t.Errorf("changed from\n%s to\n%s", before, after)
			}
		})
	}
}
