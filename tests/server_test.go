package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// startVictoria runs a real VictoriaMetrics for one test and returns its
// address. Its flags are those that docs/victoriametrics-setup.md asks for.
func startVictoria(t *testing.T, flags ...string) (base string) {
	t.Helper()
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics)")
	}
	port := mustReservePort(t)
	base = "http://127.0.0.1:" + port
	cmd := exec.Command(program, append([]string{
		"-storageDataPath=" + t.TempDir(), "-httpListenAddr=127.0.0.1:" + port,
		"-dedup.minScrapeInterval=1ms", "-retentionPeriod=100y",
		// An answer that was empty is remembered otherwise.
		"-search.disableCache",
	}, flags...)...)
	runBeside(t, cmd)
	deadline := time.Now().Add(patience)
	for {
		if _, status := get(base + "/health"); status == http.StatusOK {
			return base
		}
		if time.Now().After(deadline) {
			t.Fatal("VictoriaMetrics does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// runBeside starts a program that is ended, by pid, when the test is over; the
// end of its output is shown if the test failed.
func runBeside(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text := out.Bytes()
			t.Logf("%s: %s", cmd.Path, text[max(0, len(text)-2000):])
		}
	})
}

// load imports JSON lines and waits until they can be asked for.
func load(t *testing.T, base string, lines []byte) {
	t.Helper()
	resp, err := http.Post(base+"/api/v1/import", "application/json", bytes.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("import: %s", resp.Status)
	}
	get(base + "/internal/force_flush")
}

// A found is one series of an answer to a query.
type found struct {
	Metric map[string]string
	Value  [2]any   // of an instant query: time, value
	Values [][2]any // of a range query
}

// numbers returns the values of a series.
func (f found) numbers(t *testing.T) []float64 {
	t.Helper()
	points := f.Values
	if points == nil {
		points = [][2]any{f.Value}
	}
	var all []float64
	for _, p := range points {
		text, ok := p[1].(string)
		if !ok {
			t.Fatalf("not a value: %v", p)
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// ask sends a query to the Prometheus API of a server. The error is the
// server's.
func ask(ctx context.Context, base, path string, params url.Values) ([]found, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/"+path+"?"+params.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []found }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return answer.Data.Result, nil
}

func askAt(ctx context.Context, base, expr string, at time.Time) ([]found, error) {
	return ask(ctx, base, "query", url.Values{"query": {expr}, "time": {strconv.FormatInt(at.Unix(), 10)}})
}

func askRange(ctx context.Context, base, expr string, from, to time.Time, step string) ([]found, error) {
	return ask(ctx, base, "query_range", url.Values{
		"query": {expr}, "step": {step},
		"start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)},
	})
}
