package health

import (
	"compress/gzip"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "pack the page anew")

// What is served is made from the sources beside it, and lies in the repository
// so that `go build` alone makes the program.
func TestTheServedPageIsMadeFromItsSources(t *testing.T) {
	for name, sources := range pageParts {
		var joined strings.Builder
		for _, source := range sources {
			text, err := os.ReadFile(filepath.Join("page", source))
			if err != nil {
				t.Fatal(err)
			}
			joined.Write(text)
			joined.WriteString("\n")
		}
		path := filepath.Join("page/packed", name+".gz")
		if *update {
			w, err := gzip.NewWriterLevel(nil, gzip.BestCompression)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := packWith(w, joined.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(packed), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		packed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		served, err := unpack(string(packed))
		if err != nil || served != joined.String() {
			t.Errorf("%s is not made from the page's sources (%v): run `make golden`", path, err)
		}
	}
}
