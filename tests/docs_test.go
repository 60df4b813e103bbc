package tests

import (
	"flag"
	"fmt"
	"os"
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
	const path = "../docs/metrics.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)(<!-- metrics:[^\n]*-->\n)(.*)(<!-- /metrics -->)`)
	want := part.ReplaceAllString(string(b), "${1}"+strings.ReplaceAll(metricTable(), "$", "$$")+"${3}")
	if !part.Match(b) {
		t.Fatal("docs/metrics.md has no place for the table")
	}
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatal("docs/metrics.md does not show the catalogue as it is; run `make golden`")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
