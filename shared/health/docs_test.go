package health

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestEveryReasonIsInTheCatalogueOnce(t *testing.T) {
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 40 {
		t.Fatalf("only %d codes found in codes.go", len(codes))
	}
	times := map[Code]int{}
	for _, chapter := range Catalog {
		for _, e := range chapter.Entries {
			times[e.Code]++
			if e.Meaning == "" || e.Severity != StatusDegraded && e.Severity != StatusError {
				t.Errorf("%+v", e)
			}
			if h := hints[e.Code]; h == "" || strings.ContainsAny(h, "`[]") {
				t.Errorf("the hint of %s is %q", e.Code, h)
			}
		}
	}
	for _, c := range codes {
		if times[Code(c[1])] != 1 {
			t.Errorf("%s is in the catalogue %d times", c[1], times[Code(c[1])])
		}
		delete(times, Code(c[1]))
	}
	for code := range times {
		t.Errorf("%s is in the catalogue and not in codes.go", code)
	}
}

func TestThePageShowsTheCatalogue(t *testing.T) {
	const path = "../../docs/health-monitoring.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)(<!-- reasons:[^\n]*-->\n)(.*)(<!-- /reasons -->)`)
	if !part.Match(page) {
		t.Fatal("the page has no place for the tables")
	}
	want := part.ReplaceAllString(string(page), "${1}"+strings.ReplaceAll(Markdown(), "$", "$$")+"${3}")
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatal("docs/health-monitoring.md does not show the reasons as they are; run `make golden`")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
