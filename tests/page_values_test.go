package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/taniwha3/thugshells/shared/config"
)

// shownTokens are the tokens that the pages show: in a vmauth.yml, and on their
// way into a token file.
func shownTokens(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, page := range pages() {
		for _, b := range blocks(t, page) {
			for _, form := range []string{`bearer_token: *"([^"\n]*)"`, `bearer_token: *([^"\s].*)`, `echo (.*?) *>+ */etc/belabox-metrics/token`, `/etc/belabox-metrics/token <<'END'\n(.*)\nEND`} {
				for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(b.text, -1) {
					found[m[1]] = fmt.Sprintf("%s:%d", page, b.line)
				}
			}
		}
	}
	return found
}

// TestTheTokensShownAreTokens has a shipper use each of them.
func TestTheTokensShownAreTokens(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	tokens := shownTokens(t)
	if len(tokens) < 5 {
		t.Fatalf("only %d tokens were found: %v", len(tokens), tokens)
	}
	var mu sync.Mutex
	got := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got[r.Header.Get("Authorization")] = true
		w.Header().Set("X-Server-Hostname", "vm-1")
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	for token, where := range tokens {
		dir := t.TempDir()
		cfg, file := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "token")
		text := fmt.Sprintf("device: {id: b}\nstorage: {path: %s/metrics.db}\ntime: {untrusted: ship}\nremote: {url: '%s/api/v1/import', token_file: %s}\n", dir, server.URL, file)
		for name, content := range map[string]string{cfg: text, file: token + "\n"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, program := range []string{"metrics-collector", "metrics-shipper"} {
			if out, err := exec.Command(filepath.Join(bin, program), "-config", cfg, "-once").CombinedOutput(); err != nil {
				t.Errorf("%s: the token %q: %v\n%s", where, token, err, out)
			}
		}
		mu.Lock()
		if !got["Bearer "+token] {
			t.Errorf("%s: the token %q did not reach the server", where, token)
		}
		mu.Unlock()
	}
}

// TestTheConfigurationsShownAreGood loads what the pages show of config.yaml.
func TestTheConfigurationsShownAreGood(t *testing.T) {
	checked := 0
	for _, page := range pages() {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" || strings.Contains(b.text, "vmauth.yml") || strings.Contains(b.text, "scrape_configs:") { // of other programs
				continue
			}
			checked++
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(file); err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		}
	}
	if checked < 2 {
		t.Errorf("only %d configurations were found", checked)
	}
}

// TestTheFlagsOfTheServerAreAccepted runs VictoriaMetrics with the flags that the setup
// page gives Debian's service, which splits them at spaces.
func TestTheFlagsOfTheServerAreAccepted(t *testing.T) {
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics)")
	}
	m := regexp.MustCompile(`(?m)^ARGS="(.*)"$`).FindStringSubmatch(readPage(t, "docs/victoriametrics-setup.md"))
	if m == nil {
		t.Fatal("the page has no ARGS")
	}
	known := strings.NewReplacer("/var/lib/victoria-metrics", t.TempDir(), "-httpListenAddr=127.0.0.1:8428", "")
	flags, _ := get(startAt(t, program, strings.Fields(known.Replace(m[1]))...) + "/flags")
	for _, want := range []string{`-dedup.minScrapeInterval="1ms"`, `-retentionPeriod="90d"`} {
		if !strings.Contains(flags, want) {
			t.Errorf("%s is not among the flags:\n%s", want, flags)
		}
	}
}
