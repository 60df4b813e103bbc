package tests

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// anchors are those that GitHub gives the headings of a page: small letters,
// without marks, with hyphens for spaces.
func anchors(t *testing.T, page string) (all []string) {
	t.Helper()
	text := fence.ReplaceAllString(readPage(t, page), "")
	for _, m := range regexp.MustCompile(`(?m)^#{1,6} +(.*)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

// brokenLinks follows the relative links of a page, to files and to headings.
func brokenLinks(t *testing.T, page, text string) (broken []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		to, anchor := m[1], m[2]
		if strings.Contains(to, "://") {
			continue
		}
		target := page
		if to != "" {
			target = path.Join(path.Dir(page), to)
		}
		if _, err := os.Stat(filepath.Join("..", target)); err != nil || to == "" && anchor == "" {
			broken = append(broken, m[0][1:])
		} else if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
			broken = append(broken, m[0][1:])
		}
	}
	return broken
}

func TestEveryLinkOfThePagesHasATarget(t *testing.T) {
	for _, page := range pages() {
		for _, link := range brokenLinks(t, page, readPage(t, page)) {
			t.Errorf("%s: broken link %s", page, link)
		}
	}
	const page = "docs/fleet.md"
	for link, want := range map[string]int{
		"[a](operations.md#configure)": 0, "[a](#the-cluster)": 0, "[a](../README.md)": 0, "[a](https://example.com/#x)": 0,
		"[a](operations.md#no-such-part)": 1, "[a](#no-such-part)": 1, "[a](no-such-page.md)": 1, "![a](no.png)": 1, "[a]()": 1,
	} {
		if got := len(brokenLinks(t, page, link)); got != want {
			t.Errorf("%s: %d broken links found, want %d", link, got, want)
		}
	}
}

// TestThePictureOfImportsIsTrue compares docs/architecture.md with the code.
func TestThePictureOfImportsIsTrue(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../cmd/...", "../shared/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/taniwha3/thugshells/"
	name := func(pkg string) string {
		return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(pkg, module), "cmd/"), "shared/")
	}
	drawn := map[string]string{}
	for _, b := range blocks(t, "docs/architecture.md") {
		for _, m := range regexp.MustCompile(`(?m)^([\w-]+) ─+▶ ([\w, ]*\w)`).FindAllStringSubmatch(b.text, -1) {
			// What stands after two spaces is a remark.
			drawn[m[1]], _, _ = strings.Cut(m[2], "  ")
		}
		if m := regexp.MustCompile(`(?m)^([\w, ]+): leaves$`).FindStringSubmatch(b.text); m != nil {
			for leaf := range strings.SplitSeq(m[1], ", ") {
				drawn[leaf] = ""
			}
		}
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		var ours []string
		for _, pkg := range words[1:] {
			if strings.HasPrefix(pkg, module) {
				ours = append(ours, name(pkg))
			}
		}
		slices.Sort(ours)
		pkg, want := name(words[0]), strings.Join(ours, ", ")
		if strings.HasSuffix(pkg, "test") {
			continue
		}
		got, ok := drawn[pkg]
		if sorted := strings.Split(got, ", "); got != "" {
			slices.Sort(sorted)
			got = strings.Join(sorted, ", ")
		}
		if !ok || got != want {
			t.Errorf("%s imports %q, docs/architecture.md has %q", pkg, want, got)
		}
	}
}
