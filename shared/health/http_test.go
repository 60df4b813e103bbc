package health

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/metric"
)

// get asks and returns status, body and headers.
func get(t *testing.T, method, url, host string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

// getWith asks with headers; an encoded answer is given as it came.
func getWith(t *testing.T, url string, headers map[string]string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

func TestEndpointsFollowTheStatus(t *testing.T) {
	b := newBoard(t)
	base := b.serve(t)
	check := func(name string, health, ready int) {
		t.Helper()
		for path, want := range map[string]int{"/health": health, "/health/ready": ready, "/health/live": 200, "/api/status": 200, "/metrics": 200, "/": 200} {
			if got, body, _ := get(t, "GET", base+path, ""); got != want {
				t.Errorf("%s: %s is %d, want %d: %s", name, path, got, want, body)
			}
		}
	}
	again := b.expire
	check("no database", 503, 503)
	b.fill(t)
	again()
	check("well", 200, 200)
	b.mu.Lock()
	b.locks[shipper] = Lock{}
	b.mu.Unlock()
	again()
	check("degraded", 200, 503)
	b.mu.Lock()
	b.locks[shipper] = Lock{Held: true, PID: 0}
	b.mu.Unlock()
	mustSQL(t, b.path, "DELETE FROM upload_checkpoints; UPDATE ledger SET count = 0 WHERE name = 'delivered'; UPDATE samples SET uploaded = 0")
	again()
	check("never delivered", 200, 503)
}

func TestHealthIsTheDocumentedJSON(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	base := b.serve(t)
	_, body, header := get(t, "GET", base+"/health", "")
	var report map[string]any
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		t.Fatal(err)
	}
	for section, keys := range map[string][]string{
		"":           {"status", "version", "uptime_seconds", "timestamp", "collectors", "uploader", "storage", "time", "reasons", "device_id", "daemons"},
		"uploader":   {"status", "last_upload", "metrics_uploaded", "upload_failures", "pending_metrics", "retry_queue_size"},
		"storage":    {"database_size_bytes", "wal_size_bytes", "metrics_pending_upload", "oldest_metric_timestamp"},
		"time":       {"local", "skew_ms", "ntp_synced"},
		"collectors": {"system.load"},
	} {
		in := report
		if section != "" {
			in, _ = report[section].(map[string]any)
		}
		for _, key := range keys {
			if _, ok := in[key]; !ok {
				t.Errorf("%s.%s is missing", section, key)
			}
		}
	}
	if reasons, ok := report["reasons"].([]any); !ok || len(reasons) != 0 || report["version"] != "1.0" || report["device_id"] != "board-1" {
		t.Errorf("%s", body)
	}
	for key, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "", "Server": "",
	} {
		if got := header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if policy := header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Error(policy)
	}
}

func TestOnlyGetAndHeadAndOnlyKnownPaths(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	base := b.serve(t)
	for _, path := range []string{"/", "/health", "/health/live", "/health/ready", "/metrics", "/api/status", "/api/series", "/api/query?name=system.load1&since=1h&step=1m", "/page/page.js"} {
		status, body, _ := get(t, "GET", base+path, "")
		if status != 200 || body == "" {
			t.Errorf("GET %s: %d %q", path, status, body)
		}
		if status, body, header := get(t, "HEAD", base+path, ""); status != 200 || body != "" || header.Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %d %q %v", path, status, body, header)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"} {
			if status, _, header := get(t, method, base+path, ""); status != 405 || header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, status, header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/page", "/page/", "/page/vendor/", "/page/../health.go", "/%2e%2e/etc/passwd", "/health/", "//health", "/debug/pprof/"} {
		if status, body, _ := get(t, "GET", base+path, ""); status != 404 {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
}

func TestOnlyKnownHostNamesAreAnswered(t *testing.T) {
	h := hostsOf("board.lan:9100")
	for host, want := range map[string]bool{
		"localhost": true, "localhost:9100": true, "LOCALHOST.:9100": true, "127.0.0.1:9100": true, "[::1]:9100": true, "[::1]": true,
		"192.168.1.5": true, "10.0.0.1:80": true, "board.lan": true, "Board.LAN:1": true, "": true,
		"evil.example": false, "evil.example:9100": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"1.2.3": false, "board.lan.evil.example": false, "localhost:9100:1": false, "[evil]": false,
	} {
		if got := h.allow(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
	b := newBoard(t)
	base := b.serve(t)
	for _, path := range []string{"/", "/health", "/api/series", "/nothing"} {
		if status, _, _ := get(t, "GET", base+path, "evil.example"); status != 403 {
			t.Errorf("%s under a foreign name: %d", path, status)
		}
	}
}

func TestWhichClientsReachAnAddress(t *testing.T) {
	for text, want := range map[string]Reach{
		"127.0.0.1:9100": ReachSelf, "127.8.8.8:1": ReachSelf, "[::1]:9100": ReachSelf, "[::ffff:127.0.0.1]:1": ReachSelf,
		"0.0.0.0:9100": ReachAll, "[::]:9100": ReachAll, ":9100": ReachAll,
		"192.168.1.7:9100": ReachSome, "10.0.0.1:1": ReachSome, "[fe80::1]:1": ReachSome,
	} {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := ReachOf(a); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	b := newBoard(t)
	base := b.serve(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 9<<10))
	answer, err := io.ReadAll(c)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
		t.Errorf("%.60q %v", answer, err)
	}
}

func TestQueryGivesColumnsAndLeavesGaps(t *testing.T) {
	b := newBoard(t)
	now := time.Now().Truncate(time.Minute)
	at := func(minutes int, v float64, core string) metric.Sample {
		return metric.Sample{Name: "cpu.usage_percent", Tags: metric.Tags("core", core), TimeMs: now.Add(time.Duration(minutes) * time.Minute).UnixMilli(), Value: v}
	}
	b.fill(t, at(-30, 10, "0"), at(-29, 20, "0"), at(-20, 30, "0"), at(-20, 50, "all"), at(-90, 99, "0"))
	base := b.serve(t)
	_, body, _ := get(t, "GET", base+"/api/query?name=cpu.usage_percent&since=1h&step=2m", "")
	var answer struct {
		Step   int64 `json:"step_ms"`
		Series []struct {
			Name string
			Tags map[string]string
			T    []int64
			Min  []float64
			Max  []float64
			Avg  []float64
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err, body)
	}
	got := map[string]float64{}
	for _, s := range answer.Series {
		for i, at := range s.T {
			if at%120000 != 0 {
				t.Errorf("a bucket begins at %d", at)
			}
			got[fmt.Sprintf("%s %s %d avg", s.Name, s.Tags["core"], (now.UnixMilli()/120000*120000-at)/60000)] = s.Avg[i]
		}
	}
	want := map[string]float64{}
	for _, sample := range []metric.Sample{at(-30, 10, "0"), at(-29, 20, "0"), at(-20, 30, "0"), at(-20, 50, "all")} {
		core := "0"
		if sample.Value == 50 {
			core = "all"
		}
		key := fmt.Sprintf("cpu.usage_percent %s %d avg", core, (now.UnixMilli()/120000*120000-sample.TimeMs/120000*120000)/60000)
		if before, ok := want[key]; ok {
			want[key] = (before + sample.Value) / 2
		} else {
			want[key] = sample.Value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || answer.Step != 120000 {
		t.Errorf("%s\n%s", diff, body)
	}
	_, body, _ = get(t, "GET", base+"/api/series", "")
	if want := `{"name":"cpu.usage_percent","tags":{"core":"all"},"device_id":"board-1"}`; !strings.Contains(body, want) {
		t.Error(body)
	}
	if status, body, _ := get(t, "GET", base+"/api/query?name=no.such&since=1h&step=1m", ""); status != 200 || !strings.Contains(body, `"series":[]`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestQuestionsAreBounded(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for raw, want := range map[string]string{
		"name=a&since=1h&step=10s":                         "",
		"name=a&name=b&since=1799999000000&step=1m&rate=1": "",
		"name=a&since=168h&step=10m":                       "",
		"name=a&since=169h&step=10m":                       "since: want a time at most 7d0h before until",
		"name=a&since=24h&step=57s":                        "step: want at least",
		"name=a&since=24h&step=58s":                        "",
		"name=a&since=10m&step=0.5s":                       "step: want at least 1s",
		"name=a&since=1h&step=-1s":                         "step: want at least",
		"name=a&since=0&until=1000&step=1s":                "since: want",
		"name=a&since=-1h&step=10s":                        "since: want Unix milliseconds",
		"name=a&since=9223372036854775807&step=1s":         "since: want",
		"name=a&since=1h&until=2h&step=10s":                "since: want",
		"since=1h&step=10s":                                "name: want 1 to 16, got 0",
		"name=&since=1h&step=10s":                          "name: want 1 to 256 bytes",
		"name=a&since=1h&since=2h&step=10s":                `"since" is given 2 times`,
		"name=a&since=1h&step=10s&limit=5":                 "no such parameter",
		"name=a&since=1h&step=10s&rate=maybe":              "rate: want 1 or 0",
		"name=%zz":                                         "the query string is malformed",
		strings.Repeat("name=a&", 17) + "since=1h&step=1m": "name: want 1 to 16, got 17",
	} {
		_, err := parseQuestion(raw, now)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	b := newBoard(t)
	var many []metric.Sample
	for i := range maxSeries + 1 {
		many = append(many, metric.Sample{Name: "many", Tags: metric.Tags("n", fmt.Sprint(i)), TimeMs: time.Now().UnixMilli(), Value: 1})
	}
	b.fill(t, many...)
	base := b.serve(t)
	for query, want := range map[string]int{
		"name=many&since=1h&step=1m": 400, "name=a&since=1h": 400, "name=system.load1&since=1h&step=1m": 200,
	} {
		if status, body, _ := get(t, "GET", base+"/api/query?"+query, ""); status != want {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	b.remove(t)
	if status, body, _ := get(t, "GET", base+"/api/query?name=a&since=1h&step=1m", ""); status != 503 || !strings.Contains(body, "there is no database") {
		t.Errorf("%d %s", status, body)
	}
}

func TestTooManyQueriesAreTurnedAway(t *testing.T) {
	b := newBoard(t)
	b.fill(t)
	s := NewServer(b.watch(t), b.config(), "1.0", time.Now(), nil)
	for range maxQueries {
		s.tickets <- struct{}{}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "/api/query?name=a&since=1h&step=1m", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.samples(req); a.status != 503 {
		t.Errorf("%+v", a)
	}
	<-s.tickets
	if a := s.samples(req); a.status != 200 {
		t.Errorf("%+v", a)
	}
}

func TestADiskThatHangsBlocksFewQueriesAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	b := newBoard(t)
	b.fill(t)
	w := b.watch(t)
	s := NewServer(w, b.config(), "1.0", time.Now(), slog.New(slog.DiscardHandler))
	server := httptest.NewServer(s)
	defer server.Close()
	const series, query = "/api/series", "/api/query?name=a&since=1h&step=1m"
	w.file.Lock() // as one keeps it that waits for the disk
	free := sync.OnceFunc(w.file.Unlock)
	defer free()
	var silent, other, turnedAway atomic.Int64
	var asked sync.WaitGroup
	for i := range 2 * maxQueries {
		asked.Go(func() {
			code, body, _ := get(t, "GET", server.URL+[]string{series, query}[i%2], "")
			switch {
			case code == 503 && strings.Contains(body, "the disk may be failing"):
				silent.Add(1)
			case code == 503 && strings.Contains(body, "other queries took too long"):
				other.Add(1)
			case code == 503 && strings.Contains(body, "too many queries"):
				turnedAway.Add(1)
			default:
				t.Errorf("%d %s", code, body)
			}
		})
	}
	for range 2 * maxConns {
		if code, body, _ := get(t, "GET", server.URL+"/health/live", ""); code != 200 {
			t.Fatal(code, body)
		}
	}
	asked.Wait()
	if silent.Load() != 1 || other.Load() != maxQueries-1 || turnedAway.Load() != maxQueries {
		t.Errorf("%d silent, %d waited, %d turned away", silent.Load(), other.Load(), turnedAway.Load())
	}
	free()
	for _, path := range []string{series, query} {
		code, body := 0, ""
		for until := time.Now().Add(patience); code != 200 && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			code, body, _ = get(t, "GET", server.URL+path, "")
		}
		if code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func FuzzParseQuestion(f *testing.F) {
	f.Add("name=a&since=1h&step=10s")
	f.Add("name=a&since=1&until=99999999999999&step=1ns&rate=1")
	f.Add("name=%ff&since=9223372036854775807&step=9223372036s")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuestion(raw, time.UnixMilli(1_800_000_000_000))
		if err != nil {
			return
		}
		points := (q.until - q.since) / q.step.Milliseconds()
		if q.since < 0 || q.since%q.step.Milliseconds() != 0 || points > maxPoints+1 || points < 0 {
			t.Errorf("%q: %+v, %d points", raw, q, points)
		}
	})
}
