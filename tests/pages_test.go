package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// operatorPages are those whose commands and queries are tried here. Above each
// block of commands stands whether it is run or what it needs that a test has not:
//
//	<!-- run -->
//	<!-- needs root -->
var operatorPages = []string{"docs/victoriametrics-setup.md", "docs/fleet.md", "docker/README.md"}

// A block is a fenced part of a page.
type block struct {
	page, language, marker, text string
	line                         int
}

var fence = regexp.MustCompile("(?ms)(?:^<!-- ([^\n]*) -->\n)?^```(\\w*)\n(.*?)^```$")

func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllSubmatchIndex(text, -1) {
		b := block{page: page, language: string(text[m[4]:m[5]]), text: string(text[m[6]:m[7]]), line: 1 + bytes.Count(text[:m[4]], []byte("\n"))}
		if m[2] >= 0 {
			b.marker = string(text[m[2]:m[3]])
		}
		all = append(all, b)
	}
	return all
}

// TestThePagesCommandsWork runs the commands of each page in their order, with a
// server, a configuration and a database of the test's in place of the page's.
func TestThePagesCommandsWork(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range operatorPages {
		t.Run(page, func(t *testing.T) {
			base := startVictoria(t)
			dir := t.TempDir()
			cfg := filepath.Join(dir, "config.yaml")
			text := fmt.Sprintf("device: {id: board-1}\nstorage: {path: %s}\nremote: {url: '%s/api/v1/import'}\nmonitoring: {clock_skew_url: '%s/health'}\n",
				filepath.Join(dir, "metrics.db"), base, base)
			if err := os.WriteFile(cfg, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
			known := strings.NewReplacer("http://127.0.0.1:8428", base, "/etc/belabox-metrics/config.yaml", cfg, "/var/lib/belabox-metrics", dir)
			for _, b := range blocks(t, page) {
				if b.language != "sh" {
					continue
				}
				if !regexp.MustCompile(`^(run|needs .+)$`).MatchString(b.marker) {
					t.Errorf("%s:%d: commands that say neither that they are run nor what they need: %q", page, b.line, b.marker)
					continue
				}
				// What cannot be run can at least be read by a shell.
				args := []string{"-eun", "-c", known.Replace(b.text)}
				if b.marker == "run" {
					args[0] = "-eu"
				}
				cmd := exec.CommandContext(t.Context(), "sh", args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s:%d: %v\n%s\n%s", page, b.line, err, b.text, out)
				}
			}
		})
	}
}

// TestThePagesQueriesHaveAnswers asks a server that holds the recording every
// query that the pages show.
func TestThePagesQueriesHaveAnswers(t *testing.T) {
	base := startVictoria(t)
	load(t, base, recording(t))
	asked := 0
	for _, page := range operatorPages {
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
