package tests

import (
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

// A cluster stands for all nodes behind vmauth and notes what it was asked.
type cluster struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func startCluster(t *testing.T) *cluster {
	c := new(cluster)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths = append(c.paths, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(c.Close)
	return c
}

// asked returns the paths since the last time.
func (c *cluster) asked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths := strings.Join(c.paths, " ")
	c.paths = nil
	return paths
}

// startVmauth runs the configuration that a page shows, with one server in place
// of all that it names, and returns the address of vmauth.
func startVmauth(t *testing.T, page, server string) (base string) {
	t.Helper()
	program, err := exec.LookPath("vmauth")
	if err != nil {
		t.Skip("vmauth is not installed (Debian package victoria-metrics)")
	}
	var text string
	for _, b := range blocks(t, page) {
		if b.language == "yaml" && strings.Contains(b.text, "vmauth.yml") {
			text = regexp.MustCompile(`http://[\w.-]+:\d+`).ReplaceAllString(b.text, server)
		}
	}
	if text == "" {
		t.Fatalf("%s shows no vmauth.yml", page)
	}
	cfg := filepath.Join(t.TempDir(), "vmauth.yml")
	if err := os.WriteFile(cfg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startAt(t, program, "-auth.config="+cfg)
}

// startAt runs one of VictoriaMetrics' programs on a free port until the test is
// over and returns its address.
func startAt(t *testing.T, program string, args ...string) (base string) {
	t.Helper()
	port := mustReservePort(t)
	runBeside(t, exec.Command(program, append(args, "-httpListenAddr=127.0.0.1:"+port)...))
	base = "http://127.0.0.1:" + port
	deadline := time.Now().Add(patience)
	for {
		if _, status := get(base + "/metrics"); status == http.StatusOK {
			return base
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer", program)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestVmauthLeadsEachTokenToItsPlace asks behind the configurations that the
// pages show.
func TestVmauthLeadsEachTokenToItsPlace(t *testing.T) {
	const refused = 400
	type question struct {
		path, token, user string
		status            int
		at                string // the path at the cluster
	}
	for page, questions := range map[string][]question{
		"docs/fleet.md": {
			{"/api/v1/import", "token-of-the-boards-of-customer-17", "", 204, "/insert/17/prometheus/api/v1/import"},
			{"/health", "", "", 200, ""}, // its own
			{"/api/v1/import", "guessed", "", refused, ""},
			{"/api/v1/import", "", "", refused, ""},
			{"/api/v1/query", "token-of-the-boards-of-customer-17", "", refused, ""},
			{"/api/v1/export", "token-of-the-boards-of-customer-17", "", refused, ""},
			{"/api/v1/write", "token-of-the-gateway-of-customer-17", "", 204, "/insert/17/prometheus/api/v1/write"},
			{"/api/v1/import", "token-of-the-gateway-of-customer-17", "", refused, ""},
			{"/api/v1/export", "token-for-verify-of-customer-17", "", 204, "/select/17/prometheus/api/v1/export"},
			{"/api/v1/import", "token-for-verify-of-customer-17", "", 204, "/insert/17/prometheus/api/v1/import"},
			{"/api/v1/query", "", "grafana-17", 204, "/select/17/prometheus/api/v1/query"},
			{"/api/v1/import", "", "grafana-17", 204, "/select/17/prometheus/api/v1/import"}, // where nobody imports
		},
		"docs/victoriametrics-setup.md": {
			{"/api/v1/import", "the-token-of-this-board", "", 204, "/api/v1/import"},
			{"/api/v1/export", "the-token-of-this-board", "", refused, ""},
			{"/api/v1/import", "the-token-for-verify", "", 204, "/api/v1/import"},
			{"/api/v1/export", "the-token-for-verify", "", 204, "/api/v1/export"},
			{"/api/v1/admin/tsdb/delete_series", "the-token-for-verify", "", refused, ""},
			{"/health", "", "", 200, ""},
		},
	} {
		cluster := startCluster(t)
		base := startVmauth(t, page, cluster.URL)
		for _, q := range questions {
			cluster.asked()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+q.path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if q.token != "" {
				req.Header.Set("Authorization", "Bearer "+q.token)
			}
			if q.user != "" {
				req.SetBasicAuth(q.user, "of the customer's Grafana")
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			said, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			status := resp.StatusCode
			if status >= 400 {
				status = refused // 400 or 401, by the version
			}
			if got := cluster.asked(); status != q.status || got != q.at {
				t.Errorf("%s: %s with token %q, user %q: %d at %q, want %d at %q\n%s", page, q.path, q.token, q.user, resp.StatusCode, got, q.status, q.at, said)
			}
		}
	}
}

// TestTheRegionsGatewayReachesTheCluster runs the vmagent of docs/fleet.md: what a
// board imports there goes through vmauth to the tenant's vminsert.
func TestTheRegionsGatewayReachesTheCluster(t *testing.T) {
	program, err := exec.LookPath("vmagent")
	if err != nil {
		t.Skip("vmagent is not installed (Debian package victoria-metrics)")
	}
	cluster := startCluster(t)
	auth := startVmauth(t, "docs/fleet.md", cluster.URL)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("token-of-the-gateway-of-customer-17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, b := range blocks(t, "docs/fleet.md") {
		if command, ok := strings.CutPrefix(strings.ReplaceAll(b.text, "\\\n", ""), "vmagent "); ok {
			known := strings.NewReplacer("https://metrics.example.com", auth, "/var/lib/vmagent", dir, "/etc/vmagent/token", token, "-httpListenAddr=:8429", "")
			args = strings.Fields(known.Replace(command))
		}
	}
	agent := startAt(t, program, args...)
	resp, err := http.Post(agent+"/api/v1/import", "", strings.NewReader(`{"metric":{"__name__":"x"},"values":[1],"timestamps":[1700000000000]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("vmagent: %s", resp.Status)
	}
	deadline := time.Now().Add(patience)
	for {
		got := cluster.asked()
		if got == "/insert/17/prometheus/api/v1/write" {
			return
		}
		if got != "" || time.Now().After(deadline) {
			t.Fatalf("at the cluster: %q", got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
