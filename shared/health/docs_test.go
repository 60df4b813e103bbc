package health

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestEveryReasonIsDocumented(t *testing.T) {
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/health-monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 30 {
		t.Fatalf("only %d codes found in codes.go", len(codes))
	}
	known := map[string]bool{}
	for _, c := range codes {
		known[c[1]] = true
		if !strings.Contains(string(page), "| `"+c[1]+"` |") {
			t.Errorf("%s is not in docs/health-monitoring.md", c[1])
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if !known[row[1]] {
			t.Errorf("%s is documented and does not exist", row[1])
		}
	}
}
