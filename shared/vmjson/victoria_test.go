package vmjson

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taniwha3/thugshells/shared/metric"
)

// startVictoria starts a real VictoriaMetrics on a free loopback port and ends
// it with the test. The test is skipped where none is installed.
func startVictoria(t *testing.T) (base string) {
	t.Helper()
	program, err := exec.LookPath("victoria-metrics")
	if err != nil {
		t.Skip("victoria-metrics is not installed (Debian package victoria-metrics): what it makes of our lines can't be seen")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-storageDataPath="+filepath.Join(dir, "data"), "-httpListenAddr="+address, "-retentionPeriod=100y")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("victoria-metrics: %s", text[max(0, len(text)-2000):])
		}
		cmd.Process.Kill()
		<-ended
		log.Close()
	})
	base = "http://" + address
	waitFor(t, func() (bool, string) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("victoria-metrics ended: %v", err)
		default:
		}
		status, body, err := request(t, http.MethodGet, base+"/health", nil)
		return err == nil && status == 200, fmt.Sprint(body, err)
	})
	return base
}

func waitFor(t *testing.T, ready func() (ok bool, state string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		ok, state := ready()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting after a minute: %s", state)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func request(t *testing.T, method, url string, body []byte) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// counter sums a counter of VictoriaMetrics over its labels.
func counter(t *testing.T, base, name string) (sum float64) {
	t.Helper()
	_, text, err := request(t, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

func TestVictoriaMetricsKeepsWhatWasWritten(t *testing.T) {
	base := startVictoria(t)

	now := time.Now().UnixMilli()
	var body []byte
	var want []Line
	rows := 0
	add := func(name, device, tagsText string, labels []Label, values ...float64) {
		line := Line{Name: name, Labels: append([]Label{{"device_id", device}}, labels...)}
		for i, v := range values {
			line.Values = append(line.Values, v)
			line.Timestamps = append(line.Timestamps, now-int64(len(values)-i)*1000)
			if err := CheckSample(v, line.Timestamps[i], now, 0); err != nil {
				t.Fatal(err)
			}
		}
		body = Append(body, mustHead(t, name, device, tagsText), line.Values, line.Timestamps)
		slices.SortFunc(line.Labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
		want = append(want, line)
		rows += len(values)
	}

	for i, value := range []string{
		`plain`, `"`, `\`, `\"\\"`, `}],"values":[9`, "a\nb\rc\td\be\ff", "\x00", "\x01\x02", "\x1f\x7f", "\u0080", "\u2028\u2029", "é", "😀👩‍👩‍👧", "\ufffd", "\ufeff",
		" ", "  spaces  ", "{a=\"b\"}", "`", "<&>", "/", `\u0041`, "a|b,c=d;e", strings.Repeat("x", MaxValueBytes), strings.Repeat("é", MaxValueBytes/2), strings.Repeat("\"", MaxValueBytes),
	} {
		name := fmt.Sprintf("vmjson_tag_%02d", i)
		add(name, "board", metric.Tags("tag", value), []Label{{"tag", value}}, float64(i))
		add(name, value, "", nil, float64(i))
	}
	add("vmjson_bad_bytes", "board", metric.Tags("tag", "a\xffb"), []Label{{"tag", "a\ufffdb"}}, 1)

	add("vmjson_empty_tag", "board", metric.Tags("tag", ""), nil, 1)

	var pairs []string
	var labels []Label
	for i := range MaxLabels - 2 {
		name := fmt.Sprintf("label_%02d", i)
		if i == 0 {
			name = strings.Repeat("l", MaxNameBytes)
		}
		pairs, labels = append(pairs, name, "v"), append(labels, Label{name, "v"})
	}
	add("vmjson_most_labels", "board", metric.Tags(pairs...), labels, 1)
	add("vmjson_"+strings.Repeat("n", MaxNameBytes-len("vmjson_")), "board", "", nil, 1)

	values := []float64{
		0, 1, -1, 0.5, 12.345, -99.999, 0.000001, 1e-7, 1e-300, -1e-300, 1e300, 1.5e20, 123456789012, -123456789012, 999999999999, 1e12, 1e15, 1e21, 0.1 + 0.2,
		1751328000.125, math.Copysign(0, -1), math.Pi, 1.0 / 3, 2.0 / 3 * 1e-9, 1 << 53, 1 << 62, 18446744073709551615, 8589934592, 4.9e-300, 1.7e308,
	}
	for i, v := range values {
		add(fmt.Sprintf("vmjson_value_%02d", i), "board", "", nil, metric.Round(v))
	}
	for i := range values {
		values[i] = float64(i*i) * 0.25
	}
	add("vmjson_many", "board", "", nil, values...)

	status, text, err := request(t, http.MethodPost, base+"/api/v1/import", body)
	if err != nil || status != 204 {
		t.Fatalf("import: %d %s %v", status, text, err)
	}
	// An export asked for too early would be remembered as empty for 10 s.
	waitFor(t, func() (bool, string) {
		n := counter(t, base, "vm_rows_inserted_total")
		return n >= float64(rows), fmt.Sprintf("%v of %d rows inserted", n, rows)
	})
	if status, text, err := request(t, http.MethodGet, base+"/internal/force_flush", nil); err != nil || status != 200 {
		t.Fatalf("flush: %d %s %v", status, text, err)
	}
	if invalid := counter(t, base, "vm_rows_invalid_total"); invalid != 0 {
		t.Errorf("%v invalid rows", invalid)
	}

	status, text, err = request(t, http.MethodGet, base+"/api/v1/export?match[]="+url.QueryEscape(`{__name__=~"vmjson_.*"}`), nil)
	if err != nil || status != 200 {
		t.Fatalf("export: %d %s %v", status, text, err)
	}
	got := map[string]Line{}
	lines, err := readAll(strings.NewReader(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if l.Refused != "" {
			t.Errorf("export line %d: %s", l.Number, l.Refused)
			continue
		}
		slices.SortFunc(l.Line.Labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
		got[fmt.Sprint(l.Line.Name, l.Line.Labels)] = l.Line
	}
	for _, w := range want {
		key := fmt.Sprint(w.Name, w.Labels)
		if diff := cmp.Diff(w, got[key]); diff != "" {
			t.Errorf("%.100s came back otherwise: %.1000s", w.Name, diff)
		}
		delete(got, key)
	}
	for key := range got {
		t.Errorf("not written, but exported: %.300q", key)
	}
}
