package receiver

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var noLog = slog.New(slog.DiscardHandler)

// now is a time that the receiver takes.
var now = time.Now().UnixMilli()

type server struct {
	t testing.TB
	*httptest.Server
}

func start(t testing.TB, o Options) server {
	t.Helper()
	o.Log = noLog
	s := httptest.NewServer(New(o).Handler())
	t.Cleanup(s.Close)
	return server{t, s}
}

type reply struct {
	status int
	header http.Header
}

// do sends a request; fields are header names and values.
func (s server) do(method, path string, body []byte, fields ...string) (reply, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header}, string(text)
}

func (s server) post(body []byte, fields ...string) (reply, string) {
	s.t.Helper()
	return s.do(http.MethodPost, "/api/v1/import", body, fields...)
}

// wantCounters compares requests, accepted samples, rejected lines and series.
func (s server) wantCounters(requests, accepted, rejected, series int) {
	s.t.Helper()
	_, text := s.do(http.MethodGet, "/metrics", nil)
	for name, want := range map[string]int{"requests_total": requests, "rows_accepted_total": accepted, "rows_rejected_total": rejected, "series": series} {
		if line := fmt.Sprintf("\nreceiver_%s %d\n", name, want); !strings.Contains(text, line) {
			s.t.Errorf("want %s in\n%s", strings.TrimSpace(line), text)
		}
	}
}

func zipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise returns n letters that do not compress to nothing.
func noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}

func sample(name string, value float64, timeMs int64) string {
	return fmt.Sprintf(`{"metric":{"__name__":"%s","device_id":"b7"},"values":[%v],"timestamps":[%d]}`+"\n", name, value, timeMs)
}

func TestAnswerCountsSamplesAndNamesLines(t *testing.T) {
	good := fmt.Sprintf(`{"metric":{"__name__":"up","device_id":"b7","core":"all"},"values":[1,2,3],"timestamps":[%d,%d,%d]}`+"\n", now, now+1, now+2)
	for _, c := range []struct {
		name, body, want string
		accepted, bad    int
	}{
		{"empty body", "", `{"accepted":0,"rejected":[]}`, 0, 0},
		{"two good lines", good + sample("b", 1, now), `{"accepted":4,"rejected":[]}`, 4, 0},
		{"a bad line between", good + "{\"<&>\n\n" + good, `{"accepted":6,"rejected":[{"line":2,"error":"byte 6: string without an end"}]}`, 6, 1},
		{
			"only bad lines", sample("a.b", 1, now) + sample("up", 1, 0) + sample("up", 1, now+3*86_400_000),
			fmt.Sprintf(`{"accepted":0,"rejected":[{"line":1,"error":"metric: not a metric name: \"a.b\""},{"line":2,"error":"sample 1: timestamp 0 is not after 1970"},{"line":3,"error":"sample 1: timestamp %d is more than 48 h ahead"}]}`, now+3*86_400_000),
			0, 3,
		},
		{
			"a line over the limit", noise(MaxLineBytes+1) + "\n" + good,
			fmt.Sprintf(`{"accepted":3,"rejected":[{"line":1,"error":"line is over %d bytes"}]}`, MaxLineBytes), 3, 1,
		},
	} {
		for _, compressed := range []bool{false, true} {
			s := start(t, Options{})
			body, fields := []byte(c.body), []string(nil)
			if compressed {
				body, fields = zipped(t, body), []string{"Content-Encoding", "gzip"}
			}
			resp, got := s.post(body, fields...)
			got = strings.ReplaceAll(got, `\u003c\u0026\u003e`, "<&>")
			if resp.status != 200 || got != c.want || resp.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s, gzip %v: %d %s %s\nwant %s", c.name, compressed, resp.status, resp.header.Get("Content-Type"), got, c.want)
			}
			s.wantCounters(1, c.accepted, c.bad, min(c.accepted, 1+strings.Count(c.body, `"b"`)))
		}
	}
}

func TestARejectedBodyCountsNothing(t *testing.T) {
	good := []byte(sample("up", 1, now) + sample("down", 2, now))
	whole := zipped(t, good)
	manyBad := strings.Repeat("x\n", MaxRejected+1)
	manySamples := strings.Repeat(sample("up", 1, now), MaxSamples+1)

	s := start(t, Options{})
	requests := 0
	f := func(name string, status int, want string, body []byte, fields ...string) reply {
		t.Helper()
		requests++
		resp, got := s.post(body, fields...)
		if resp.status != status || !strings.Contains(got, want) {
			t.Errorf("%s: %d %.200s, want %d %s", name, resp.status, got, status, want)
		}
		return resp
	}
	const gz = "Content-Encoding"
	for cut := range whole {
		f(fmt.Sprintf("gzip cut to %d bytes", cut), 400, "gzip", whole[:cut], gz, "gzip")
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-6] ^= 1
	f("wrong checksum", 400, "damaged", damaged, gz, "gzip")
	f("a byte after gzip", 400, "1 bytes follow", append(bytes.Clone(whole), 0), gz, "gzip")
	f("a second gzip member", 400, "bytes follow", append(bytes.Clone(whole), whole...), gz, "gzip")
	f("gzip within gzip", 400, "gzip within gzip", zipped(t, whole), gz, "gzip")
	f("gzip unannounced", 400, "no Content-Encoding", whole)
	f("plain, said to be gzip", 400, "not gzip", good, gz, "gzip")
	for _, encoding := range []string{"zstd", "deflate", "br", "gzip, gzip", "identity, gzip", "gzipp", "\"gzip\"", strings.Repeat("z", 1000)} {
		resp := f("encoding "+encoding[:2], 415, "one layer of gzip", whole, gz, encoding)
		if got := resp.header.Get("Accept-Encoding"); got != "gzip" {
			t.Errorf("415 with Accept-Encoding %q", got)
		}
	}
	f("two encoding fields", 415, "one layer of gzip", whole, gz, "gzip", gz, "gzip")
	f("too many bad lines", 400, "more than 1000 lines are bad, line 3 of them first", append(bytes.Clone(good), manyBad...))
	f("too many samples", 413, "too many samples", []byte(manySamples))
	f("a body too large", 413, "over 8388608 bytes", append(bytes.Clone(good), make([]byte, MaxBodyBytes)...))
	s.wantCounters(requests, 0, 0, 0)

	f("as many bad lines as an answer holds", 200, `"accepted":2`, append(bytes.Clone(good), manyBad[2:]...))
	f("GZIP in capitals", 200, `"accepted":2`, whole, gz, "GZIP")
	f("identity", 200, `"accepted":2`, good, gz, "identity")
	s.wantCounters(requests, 6, MaxRejected, 2)
}

func TestPlainBodyCutShortCountsNothing(t *testing.T) {
	s := start(t, Options{})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := sample("up", 1, now)
	fmt.Fprintf(conn, "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 2*len(body), body)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
		t.Errorf("%s %v, want 400", answer, err)
	}
	s.wantCounters(1, 0, 0, 0)
}

// bomb returns unit over and over, so many MiB of it, as one gzip stream.
func bomb(t *testing.T, unit string, size int) []byte {
	t.Helper()
	chunk := bytes.Repeat([]byte(unit), (1<<20)/len(unit))
	var segment bytes.Buffer // compressed by itself, so that it may repeat
	z, err := flate.NewWriter(&segment, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(chunk); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	once := segment.Len()
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := crc32.NewIEEE()
	stream := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff")
	for range size {
		stream = append(stream, segment.Bytes()[:once]...)
		sum.Write(chunk)
	}
	stream = append(stream, segment.Bytes()[once:]...)
	stream = binary.LittleEndian.AppendUint32(stream, sum.Sum32())
	return binary.LittleEndian.AppendUint32(stream, uint32(size*len(chunk)))
}

// The server must say 413 to what grows without measure, and not grow with it.
func TestGzipBombIsRefusedInLittleMemory(t *testing.T) {
	for name, body := range map[string][]byte{"zeros": bomb(t, "\x00", 100), "newlines": bomb(t, "\n", 10), "good lines": bomb(t, sample("up", 1, now), 10)} {
		s := start(t, Options{})
		s.wantCounters(0, 0, 0, 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp, text := s.post(body, "Content-Encoding", "gzip")
		runtime.ReadMemStats(&after)
		if resp.status != 413 {
			t.Errorf("%s: %d %s", name, resp.status, text)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
			t.Errorf("%s: %d bytes of memory for a bomb of %d", name, took, len(body))
		}
		s.wantCounters(1, 0, 0, 0)
	}
}

func TestSmallBodyMayCompressWell(t *testing.T) {
	plain := bytes.Repeat([]byte(sample("up", 1, now)), 2000)
	body := zipped(t, plain)
	if ratio := len(plain) / len(body); ratio <= MaxRatio || len(plain) > ratioFloor {
		t.Fatalf("%d bytes at %d:1 prove nothing", len(plain), ratio)
	}
	resp, text := start(t, Options{}).post(body, "Content-Encoding", "gzip")
	if resp.status != 200 || text != `{"accepted":2000,"rejected":[]}` {
		t.Errorf("%d %s", resp.status, text)
	}
}

func TestSummaryShowsTheNewestValueOfEachSeries(t *testing.T) {
	s := start(t, Options{})
	s.post([]byte(sample("b", 1, 1751328000000) + sample("b", 2.5, 1751328000123) + sample("b", 3, 1751328000001) +
		`{"metric":{"z":"\"\n\u001b","device_id":"b7","__name__":"a","c":"d"},"values":[4],"timestamps":[1751328000000]}` + "\nbad\n"))
	s.post([]byte(sample("b", 9, 1751327999999)))
	resp, text := s.do(http.MethodGet, "/", nil)
	for _, want := range []string{
		"2 requests, 5 samples accepted, 1 lines rejected, 2 series\n",
		"\n  line 5: byte 1: expected '{', found \"bad\"\n",
		"\n2025-07-01T00:00:00.000Z                       4  a{c=\"d\",device_id=\"b7\",z=\"\\\"\\n\\x1b\"}\n2025-07-01T00:00:00.123Z                     2.5  b{device_id=\"b7\"}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if got := resp.header.Get("Content-Type") + resp.header.Get("X-Content-Type-Options"); got != "text/plain; charset=utf-8nosniff" {
		t.Errorf("content type %s", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	many := newTable(time.Now())
	for i := range maxSeries + 5 {
		many.add(&batch{lines: []line{{fmt.Sprint(i), []float64{1, 2}, []int64{1, 2}}}, samples: 2})
	}
	if len(many.series) != maxSeries || many.unlisted != 10 || many.accepted != 2*(maxSeries+5) {
		t.Errorf("%d series, %d samples unlisted, %d accepted", len(many.series), many.unlisted, many.accepted)
	}
	many.add(&batch{lines: []line{{"0", []float64{7}, []int64{3}}}, samples: 1})
	if many.series["0"] != (newest{7, 3}) {
		t.Errorf("a known series stays at %v in a full table", many.series["0"])
	}

	large := newTable(time.Now())
	for i := range 40 {
		large.add(&batch{lines: []line{{fmt.Sprint(i, strings.Repeat("x", 1<<20)), []float64{1}, []int64{1}}}, samples: 1})
		large.add(&batch{rejected: []Rejected{{i, "bad"}}})
	}
	if len(large.series) != 15 || large.unlisted != 25 {
		t.Errorf("%d series of 1 MiB each, %d samples unlisted", len(large.series), large.unlisted)
	}
	if len(large.recent) != maxRecent || large.recent[maxRecent-1] != "line 39: bad" {
		t.Errorf("recent: %q", large.recent)
	}
}

func TestVerbosePrintsEverySampleThatCounts(t *testing.T) {
	var out bytes.Buffer
	s := start(t, Options{Verbose: &out})
	s.post([]byte(`{"metric":{"__name__":"up","device_id":"b\n7"},"values":[1,0.25],"timestamps":[1751328000000,1751328000001]}` + "\nbad\n"))
	s.post([]byte(sample("lost", 1, now)), "Content-Encoding", "gzip")
	want := "2025-07-01T00:00:00.000Z up{device_id=\"b\\n7\"} 1\n2025-07-01T00:00:00.001Z up{device_id=\"b\\n7\"} 0.25\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestImportNeedsTheTokenOnceThereIsOne(t *testing.T) {
	s := start(t, Options{Token: "s3cret"})
	body := []byte(sample("up", 1, now))
	for header, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer s3cre": 401, "Bearer s3cret2": 401, "Basic s3cret": 401, "s3cret": 401,
		"Bearer s3cret": 200, "bearer s3cret": 200,
	} {
		resp, text := s.post(body, "Authorization", header)
		if resp.status != want || want == 401 && resp.header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(text, "s3cret") {
			t.Errorf("Authorization %q: %d %s, want %d", header, resp.status, text, want)
		}
	}
	s.wantCounters(9, 2, 0, 1)
	if resp, _ := s.do(http.MethodGet, "/health", nil); resp.status != 200 {
		t.Errorf("/health asks for the token: %d", resp.status)
	}
}

func TestRoutes(t *testing.T) {
	s := start(t, Options{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/health", 200, ""},
		{"HEAD", "/health", 200, ""},
		{"POST", "/health", 405, "GET, HEAD"},
		{"GET", "/api/v1/import", 405, "POST"},
		{"PUT", "/api/v1/import", 405, "POST"},
		{"DELETE", "/", 405, "GET, HEAD"},
		{"POST", "/metrics", 405, "GET, HEAD"},
		{"POST", "/api/v1/import/", 404, ""},
		{"POST", "/api/v1/import/prometheus", 404, ""},
		{"POST", "/api/v1/write", 404, ""},
		{"GET", "/favicon.ico", 404, ""},
	} {
		resp, text := s.do(c.method, c.path, nil)
		if resp.status != c.status || resp.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q: %s", c.method, c.path, resp.status, resp.header.Get("Allow"), text)
		}
	}
	resp, text := s.do(http.MethodGet, "/health", nil)
	date, err := http.ParseTime(resp.header.Get("Date"))
	if text != "OK" || err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("/health: %q, Date %v %v", text, date, err)
	}
}

func TestImportsAtTheSameTimeAllCount(t *testing.T) {
	s := start(t, Options{Verbose: &bytes.Buffer{}})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if resp, text := s.post([]byte(sample(fmt.Sprintf("up_%d", i), 1, now) + "bad\n")); resp.status != 200 {
				t.Errorf("%d %s", resp.status, text)
			}
			s.do(http.MethodGet, "/", nil)
		})
	}
	wg.Wait()
	s.wantCounters(20, 20, 20, 20)
}

// FuzzBody: whatever the body, parse ends with a batch whose sums agree, or a
// refusal that names its status.
func FuzzBody(f *testing.F) {
	good := []byte(sample("up", 1, 1751328000000))
	f.Add(good, false)
	f.Add(zipped(f, append(good, "bad\n\n{}"...)), true)
	f.Add(zipped(f, zipped(f, good)), true)
	f.Add([]byte("\x1f\x8b\x08\x00"), true)
	f.Fuzz(func(t *testing.T, body []byte, compressed bool) {
		b, err := parse(body, compressed, time.UnixMilli(1751328000000))
		if err != nil {
			refused, ok := errors.AsType[*refusal](err)
			if !ok || refused.status < 400 || refused.status > 499 || refused.reason == "" || b != nil {
				t.Fatalf("%v, %v", b, err)
			}
			return
		}
		samples := 0
		for _, l := range b.lines {
			samples += len(l.values)
			if len(l.values) != len(l.timestamps) || len(l.values) == 0 {
				t.Fatalf("%+v", l)
			}
		}
		last := 0
		for _, r := range b.rejected {
			if r.Line <= last || r.Error == "" {
				t.Fatalf("line %d after %d: %q", r.Line, last, r.Error)
			}
			last = r.Line
		}
		if samples != b.samples || samples > MaxSamples || len(b.rejected) > MaxRejected || b.rejected == nil {
			t.Fatalf("%d samples in lines, %d counted, %d rejected", samples, b.samples, len(b.rejected))
		}
	})
}
