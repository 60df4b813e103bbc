package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryPatternOfTestsMatchesOne: "go test -run" succeeds also when there is no test
// of that name, so a target that names one that was renamed would check nothing.
func TestEveryPatternOfTestsMatchesOne(t *testing.T) {
	var tests strings.Builder
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			tests.WriteString("^" + string(m[1]) + "$\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)(?:\s-(?:test\.)?run '?|^MEASURED := )([\w|^$]+)`)
	found := 0
	for _, path := range append(documents, "../Makefile", "../.ci/run") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(strings.ReplaceAll(string(text), "$$", "$"), -1) {
			for one := range strings.SplitSeq(m[1], "|") {
				if one == "^$" { // none, beside benchmarks
					continue
				}
				found++
				if !strings.Contains(tests.String(), one) {
					t.Errorf("%s: there is no test %q", path, one)
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d names of tests were found", found)
	}
}
