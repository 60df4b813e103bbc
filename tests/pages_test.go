package tests

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
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

// TestVmauthLeadsEachTokenToItsTenant runs the configuration that docs/fleet.md
// shows, with one listener in place of all nodes of the cluster.
func TestVmauthLeadsEachTokenToItsTenant(t *testing.T) {
	program, err := exec.LookPath("vmauth")
	if err != nil {
		t.Skip("vmauth is not installed (Debian package victoria-metrics)")
	}
	var mu sync.Mutex
	var paths []string
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(cluster.Close)
	var text string
	for _, b := range blocks(t, "docs/fleet.md") {
		if b.language == "yaml" && strings.Contains(b.text, "vmauth.yml") {
			text = regexp.MustCompile(`http://vm(insert|select)-\d:\d+`).ReplaceAllString(b.text, cluster.URL)
		}
	}
	cfg := filepath.Join(t.TempDir(), "vmauth.yml")
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	runBeside(t, exec.Command(program, "-auth.config="+cfg, "-httpListenAddr=127.0.0.1:"+port))
	base := "http://127.0.0.1:" + port
	deadline := time.Now().Add(patience)
	for {
		if _, status := get(base + "/metrics"); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("vmauth does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	const refused = 400
	for _, c := range []struct {
		path, token, user string
		status            int
		at                string // the path at the cluster
	}{
		{"/api/v1/import", "of the boards of customer 17", "", 204, "/insert/17/prometheus/api/v1/import"},
		{"/health", "", "", 200, ""}, // its own
		{"/api/v1/import", "guessed", "", refused, ""},
		{"/api/v1/import", "", "", refused, ""},
		{"/api/v1/query", "of the boards of customer 17", "", refused, ""},
		{"/api/v1/query", "", "grafana-17", 204, "/select/17/prometheus/api/v1/query"},
		{"/api/v1/import", "", "grafana-17", 204, "/select/17/prometheus/api/v1/import"}, // where nobody imports
	} {
		mu.Lock()
		paths = nil
		mu.Unlock()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+c.path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		if c.user != "" {
			req.SetBasicAuth(c.user, "of the customer's Grafana")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		mu.Lock()
		got := strings.Join(paths, " ")
		mu.Unlock()
		status := resp.StatusCode
		if status >= 400 {
			status = refused // 400 or 401, by the version
		}
		if status != c.status || got != c.at {
			t.Errorf("%s with token %q, user %q: %d at %q, want %d at %q\n%s", c.path, c.token, c.user, resp.StatusCode, got, c.status, c.at, said)
		}
	}
}
