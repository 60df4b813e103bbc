package tests

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/metric"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documentation")

// metricTable prints the catalogue as a Markdown table.
func metricTable() string {
	var b strings.Builder
	b.WriteString("\n| stored name | at the server | tags | unit | what |\n| --- | --- | --- | --- | --- |\n")
	for _, e := range metric.Catalog {
		wire := metric.WireName(e.Name)
		if e.Kind == metric.Histogram {
			wire += "_bucket, _sum, _count"
		}
		tags := e.Tags
		if e.Kind == metric.Histogram {
			tags = strings.TrimPrefix(tags+", le", ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.Name, wire, tags, e.Unit, e.Help)
	}
	return b.String() + "\n"
}

func TestTheMetricTableIsTheCatalogue(t *testing.T) {
	const path = "../README.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)(<!-- metrics:[^\n]*-->\n)(.*)(<!-- /metrics -->)`)
	want := part.ReplaceAllString(string(b), "${1}"+strings.ReplaceAll(metricTable(), "$", "$$")+"${3}")
	if !part.Match(b) {
		t.Fatal("README.md has no place for the table")
	}
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatal("README.md does not show the catalogue as it is; run `make golden`")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLinksLeadSomewhere follows every relative link of the documentation.
func TestLinksLeadSomewhere(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../*.md", "../*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 3 {
		t.Fatalf("only %d pages found", len(pages))
	}
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: broken link %s", page, m[1])
			}
		}
	}
}
