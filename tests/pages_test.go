package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pages are all pages of the project. Above each block of commands stands whether
// it is run here or what it needs that a test has not:
//
//	<!-- run -->
//	<!-- needs root -->
var pages = sync.OnceValue(func() (all []string) {
	for _, pattern := range []string{"*.md", "docs/*.md", "docker/*.md"} {
		found, err := filepath.Glob("../" + pattern)
		if err != nil {
			panic(err)
		}
		for _, page := range found {
			all = append(all, strings.TrimPrefix(page, "../"))
		}
	}
	return all
})

func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A block is a fenced part of a page.
type block struct {
	page, language, marker, text string
	line                         int
}

var fence = regexp.MustCompile("(?ms)(?:^<!-- ([^\n]*) -->\n)?^```(\\w*)\n(.*?)^```$")

func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text := readPage(t, page)
	for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
		b := block{page: page, language: text[m[4]:m[5]], text: text[m[6]:m[7]], line: 1 + strings.Count(text[:m[4]], "\n")}
		if m[2] >= 0 {
			b.marker = text[m[2]:m[3]]
		}
		all = append(all, b)
	}
	return all
}

// TestThePagesAreTheOnesThatPeopleRead: none is left out because it moved.
func TestThePagesAreTheOnesThatPeopleRead(t *testing.T) {
	for _, page := range []string{
		"README.md", "docker/README.md", "docs/architecture.md", "docs/configuration.md", "docs/durability.md",
		"docs/fleet.md", "docs/health-monitoring.md", "docs/metrics.md", "docs/operations.md", "docs/receiver.md", "docs/textfile.md", "docs/CONTRIBUTING.md", "docs/SECURITY.md", "docs/victoriametrics-setup.md",
	} {
		if !slices.Contains(pages(), page) {
			t.Errorf("%s is not among the pages", page)
		}
	}
}

// TestNoCommandHides: a block of commands is one of sh, so that none is skipped.
func TestNoCommandHides(t *testing.T) {
	command := regexp.MustCompile(`(?m)^\s*(\$ |# )?(sudo|make|go|git|sh|ssh|scp|curl|apt|apt-get|systemctl|journalctl|docker|docker-compose|sqlite3|metrics-\w+|vm\w+|victoria-metrics) +[-\w./]`)
	for _, page := range pages() {
		all := blocks(t, page)
		for _, b := range all {
			switch {
			case !slices.Contains([]string{"sh", "yaml", "promql", "text"}, b.language):
				t.Errorf("%s:%d: a block of %q; want sh, yaml, promql or text", page, b.line, b.language)
			case b.language == "text" && command.MatchString(b.text):
				t.Errorf("%s:%d: commands in a block of text: %s", page, b.line, command.FindString(b.text))
			case b.language != "sh" && b.marker != "":
				t.Errorf("%s:%d: a block of %s is not run: %s", page, b.line, b.language, b.marker)
			case b.language == "sh" && !regexp.MustCompile(`^(run|needs .+)$`).MatchString(b.marker):
				t.Errorf("%s:%d: commands that say neither that they are run nor what they need: %q", page, b.line, b.marker)
			}
		}
		// Other forms of a block are not looked at, so there are none.
		text := readPage(t, page)
		if found := len(regexp.MustCompile("(?m)^\\s*(```|~~~)").FindAllString(text, -1)); found != 2*len(all) {
			t.Errorf("%s: %d fences for %d blocks: begin each at the margin, with a word for its language", page, found, len(all))
		}
		if line := regexp.MustCompile(`(?m)^(\t|    ).*`).FindString(fence.ReplaceAllString(text, "")); line != "" {
			t.Errorf("%s: a block by indentation: %s", page, line)
		}
	}
}

// TestThePagesCommandsWork runs the commands of each page in their order, with a
// server, a configuration and a database of the test's in place of the page's.
func TestThePagesCommandsWork(t *testing.T) {
	for _, page := range pages() {
		t.Run(page, func(t *testing.T) {
			var b bench
			for _, block := range blocks(t, page) {
				if block.language != "sh" {
					continue
				}
				// What cannot be run can at least be read by a shell.
				args, text := []string{"-eun", "-c"}, block.text
				if block.marker == "run" && able(text) {
					b.prepare(t)
					args, text = []string{"-eu", "-c"}, b.known.Replace(text)
				}
				cmd := exec.CommandContext(t.Context(), "sh", append(args, text)...)
				cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "PATH="+b.bin+":"+os.Getenv("PATH"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s:%d: %v\n%s\n%s", page, block.line, err, block.text, out)
				}
			}
		})
	}
}

// able says whether the machine has curl if the commands call it; tests/tools.sh
// names what was skipped.
func able(text string) bool {
	return !strings.Contains(text, "curl") || there("curl")
}

// A bench is what the commands of a page are run on.
type bench struct {
	dir, bin string
	known    *strings.Replacer // the page's places, and the bench's
}

func (b *bench) prepare(t *testing.T) {
	t.Helper()
	if b.dir != "" {
		return
	}
	var err error
	if b.bin, err = programs(); err != nil {
		t.Fatal(err)
	}
	port := mustReservePort(t)
	b.dir = t.TempDir()
	server, health, cfg := startVictoria(t), "127.0.0.1:"+port, filepath.Join(b.dir, "config.yaml")
	text := fmt.Sprintf("device: {id: board-1}\nstorage: {path: %s}\nremote: {url: '%s/api/v1/import'}\nhealth: {listen: '%s'}\n",
		filepath.Join(b.dir, "metrics.db"), server, health)
	if err := os.WriteFile(cfg, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	// The status is that of a board that has measured once.
	if out, err := exec.Command(filepath.Join(b.bin, "metrics-collector"), "-config", cfg, "-once").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	runBeside(t, exec.Command(filepath.Join(b.bin, "metrics-health"), "-config", cfg))
	deadline := time.Now().Add(patience)
	for _, status := get("http://" + health + "/health/live"); status != 200; _, status = get("http://" + health + "/health/live") {
		if time.Now().After(deadline) {
			t.Fatal("metrics-health does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.known = strings.NewReplacer("http://127.0.0.1:8428", server, "http://127.0.0.1:9100", "http://"+health,
		"/etc/belabox-metrics/config.yaml", cfg, "/var/lib/belabox-metrics", b.dir)
}

// TestThePagesQueriesHaveAnswers asks a server that holds the recording every
// query that the pages show.
func TestThePagesQueriesHaveAnswers(t *testing.T) {
	base := startVictoria(t)
	load(t, base, recording(t))
	asked := 0
	for _, page := range pages() {
		for _, b := range blocks(t, page) {
			if b.language != "promql" {
				continue
			}
			for expr := range strings.Lines(b.text) {
				expr = strings.TrimSpace(expr)
				if expr == "" || strings.HasPrefix(expr, "#") {
					continue
				}
				asked++
				series, err := askAt(t.Context(), base, expr, recordingTo)
				if err != nil || len(series) == 0 {
					t.Errorf("%s:%d: %s: %d series, %v", page, b.line, expr, len(series), err)
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("only %d queries were found", asked)
	}
}

// TestTheTableOfAlertsIsWhole: the page has the alerts that the rules have.
func TestTheTableOfAlertsIsWhole(t *testing.T) {
	text, err := os.ReadFile("../docs/victoriametrics-setup.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if !regexp.MustCompile(`(?m)^\| [^|]*\b` + r.Alert + `\b[^|]* \|`).Match(text) {
			t.Errorf("docs/victoriametrics-setup.md does not list %s", r.Alert)
		}
	}
}
