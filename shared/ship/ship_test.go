package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
	"github.com/taniwha3/thugshells/shared/vmjson"
)

// A bench is a database with a shipper whose server is wherever url says.
type bench struct {
	t    testing.TB
	db   *store.DB
	ship *Shipper
	cfg  config.Config
	log  *logText
	boot string // id
	last int64  // time of the newest sample
}

// logText is a log that can be read while it is written.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t testing.TB, url string, edit ...func(*config.Config)) *bench {
	t.Helper()
	b := &bench{t: t, cfg: config.Default(), log: &logText{}, boot: "boot", last: time.Now().UnixMilli() - 20_000}
	b.cfg.Device.ID = "board-1"
	b.cfg.Storage.Path = filepath.Join(t.TempDir(), "metrics.db")
	b.cfg.Remote.URL = url
	b.cfg.Remote.Timeout = 10 * time.Second
	b.cfg.Monitoring.ClockSkewURL = strings.TrimSuffix(url, "/api/v1/import") + "/health"
	for _, e := range edit {
		e(&b.cfg)
	}
	b.open()
	t.Cleanup(func() {
		if b.db != nil {
			b.db.Close()
		}
	})
	return b
}

// open opens the database and starts a shipper, as a process does.
func (b *bench) open() {
	b.t.Helper()
	var err error
	b.db, err = store.Open(context.Background(), b.cfg.Storage.Path, store.Options{Device: b.cfg.Device.ID, Synchronous: "NORMAL"})
	if err != nil {
		b.t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.ship, err = New(context.Background(), b.db, b.cfg, status.Daemon{Name: "metrics-shipper", Version: "1.2.3", BootID: b.boot, Started: time.Now()}, log, func() {})
	if err != nil {
		b.t.Fatal(err)
	}
	b.ship.report.self.Postpone(time.Now()) // our own samples are not what is tested
	b.ship.first.until = time.Time{}
}

// record stores n samples of each series, a second apart.
func (b *bench) record(n int, series ...string) {
	b.t.Helper()
	var samples []metric.Sample
	for range n {
		b.last++
		for _, name := range series {
			samples = append(samples, metric.Sample{Name: name, TimeMs: b.last, Value: float64(b.last%100000) / 8})
		}
	}
	if _, err := b.db.Record(context.Background(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
		b.t.Fatal(err)
	}
}

// round runs one round now, whatever there is to wait for.
func (b *bench) round() error {
	b.ship.pacing.notBefore = time.Time{}
	_, err := b.ship.Round(context.Background())
	return err
}

// minutePasses makes what was said of the server's time a minute old.
func (b *bench) minutePasses() {
	c := &b.ship.clocks.confirmation
	for _, at := range []*time.Time{&c.asked, &c.first, &c.second, &c.rejectedAt} {
		if !at.IsZero() {
			*at = at.Add(-confirmAfter)
		}
	}
	c.serverMs -= confirmAfter.Milliseconds()
	if c.rejectedMs != timeUnknown {
		c.rejectedMs -= confirmAfter.Milliseconds()
	}
}

// states returns the rows' keys, by state.
func (b *bench) states() (pending, delivered, set map[string]bool) {
	b.t.Helper()
	keys := func(rows []store.Row, err error) map[string]bool {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
		m := map[string]bool{}
		for _, r := range rows {
			m[key(r.Series.Name+r.Series.Tags, r.TimeMs)] = true
		}
		return m
	}
	pending = keys(storetest.Newest(context.Background(), b.db, 1_000_000))
	at := store.CursorAt(0)
	delivered = keys(b.db.Delivered(context.Background(), nil, &at, 1<<60, 1_000_000))
	set = map[string]bool{}
	err := b.db.Rejections(context.Background(), func(r store.Rejection) error {
		set[key(r.Series.Name+r.Series.Tags, r.TimeMs)] = true
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	l, _, err := b.db.Ledger(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	if int(l.Pending) != len(pending) || int(l.Delivered) != len(delivered) || int(l.Rejected) != len(set) {
		b.t.Errorf("the ledger says %+v, the rows %d pending, %d delivered, %d rejected", l, len(pending), len(delivered), len(set))
	}
	return pending, delivered, set
}

func (b *bench) want(pending, delivered, rejected int) {
	b.t.Helper()
	p, d, r := b.states()
	if len(p) != pending || len(d) != delivered || len(r) != rejected {
		b.t.Errorf("%d pending, %d delivered, %d rejected; want %d, %d, %d", len(p), len(d), len(r), pending, delivered, rejected)
	}
}

func (b *bench) status() status.Row {
	b.t.Helper()
	all, err := b.db.Statuses(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, s := range all {
		if s.Component == "shipper" {
			return s
		}
	}
	b.t.Fatal("no status")
	return status.Row{}
}

func key(name string, at int64) string {
	name, tags, tagged := strings.Cut(name, "{")
	if tagged {
		tags = "{" + tags
	}
	return fmt.Sprint(metric.WireName(name), tags, "@", at)
}

// A sample that arrived at a server.
type arrived struct {
	key   string
	value float64
}

// readBody returns the samples of a request's body, line by line in its order.
func readBody(header http.Header, body io.Reader) (samples []arrived, lines []int, err error) {
	if header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, nil, err
		}
	}
	err = vmjson.Read(body, vmjson.Limits{}, func(_ int, line vmjson.Line, refused error) error {
		if refused != nil {
			return refused
		}
		lines = append(lines, len(line.Values))
		var pairs []string
		for _, l := range line.Labels {
			if l.Name != "device_id" {
				pairs = append(pairs, l.Name, l.Value)
			}
		}
		for i, v := range line.Values {
			samples = append(samples, arrived{fmt.Sprint(line.Name, metric.Tags(pairs...), "@", line.Timestamps[i]), v})
		}
		return nil
	})
	return samples, lines, err
}

// transportFunc is a server without a network.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, body string) *http.Response {
	h := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}, "X-Server-Hostname": {"one"}}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1}
}

func TestRequestIsOneLineForEachSeriesWithTheHeaders(t *testing.T) {
	b := newBench(t, "http://server.example:8428/api/v1/import")
	b.record(3, "cpu.temperature", "memory.used_bytes")
	var got *http.Request
	var text []byte
	b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		got = r
		packed, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		text, err = io.ReadAll(packed)
		return respond(204, ""), err
	})
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	first := b.last - 2
	v := func(at int64) string { return fmt.Sprint(float64(at%100000) / 8) }
	times := fmt.Sprintf(`"timestamps":[%d,%d,%d]}`, first, first+1, first+2)
	values := fmt.Sprintf(`"values":[%s,%s,%s]`, v(first), v(first+1), v(first+2))
	want := `{"metric":{"__name__":"cpu_temperature_celsius","device_id":"board-1"},` + values + "," + times + "\n" +
		`{"metric":{"__name__":"memory_used_bytes","device_id":"board-1"},` + values + "," + times + "\n"
	if string(text) != want {
		t.Errorf("body %s\nwant %s", text, want)
	}
	if got.Method != "POST" || got.URL.String() != b.cfg.Remote.URL {
		t.Errorf("%s %s", got.Method, got.URL)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Content-Encoding": "gzip", "User-Agent": "belabox-metrics/1.2.3",
		"X-Device-ID": "", "X-Batch-ID": "", "X-Chunk-Index": "", "Authorization": "",
	} {
		if got := got.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	b.want(0, 6, 0)
}

func TestNewestGoesFirstThenTheBacklogByPriority(t *testing.T) {
	for _, c := range []struct{ backfill, want string }{
		{"newest_first", "live@2 live@1 first@9 first@8 first@7 last@9 last@8 last@7"},
		{"oldest_first", "live@2 live@1 first@7 first@8 first@9 last@7 last@8 last@9"},
		{"off", "live@2 live@1"},
	} {
		b := newBench(t, "http://server.example/api/v1/import", func(c2 *config.Config) {
			c2.Remote.Backfill, c2.Remote.BatchSize, c2.Remote.ChunkSize = c.backfill, 1, 1
		})
		now := time.Now().UnixMilli()
		old := now - 3600_000
		for _, s := range []struct {
			name     string
			at       int64
			priority int
		}{
			{"last", old + 7, 3},
			{"last", old + 8, 3},
			{"last", old + 9, 3},
			{"first", old + 7, 0},
			{"first", old + 8, 0},
			{"first", old + 9, 0},
			{"live", now - 1000 + 1, 2},
			{"live", now - 1000 + 2, 2},
		} {
			_, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: s.priority, Samples: []metric.Sample{{Name: s.name, TimeMs: s.at, Value: 1}}}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		var order []string
		b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
			samples, _, err := readBody(r.Header, r.Body)
			for _, s := range samples {
				name, at, _ := strings.Cut(s.key, "@")
				ms := new(int64)
				fmt.Sscan(at, ms)
				base := old
				if name == "live" {
					base = now - 1000
				}
				order = append(order, fmt.Sprint(name, "@", *ms-base))
			}
			return respond(204, ""), err
		})
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(order, " "); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.backfill, got, c.want)
		}
	}
}

func TestChunksDoubleOnSuccessAndHalveOnFailure(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) { c.Remote.BatchSize = 300 })
	b.record(2000, "a.b")
	var sizes []int
	fail := 0
	b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		samples, _, err := readBody(r.Header, r.Body)
		sizes = append(sizes, len(samples))
		if len(sizes) == fail {
			return respond(500, ""), err
		}
		return respond(204, ""), err
	})
	fail = 5
	if err := b.round(); err == nil {
		t.Error("HTTP 500 was no error")
	}
	b.round()
	if got, want := fmt.Sprint(sizes), "[50 100 200 300 300 150 300 300 300 300]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.want(0, 2000, 0)
}

func TestBodyIsNeverOverTheLimitAndNothingIsLeftOut(t *testing.T) {
	var e encoder
	e.compress = true
	s := &store.Series{ID: 7, Name: "noise", Device: "d"}
	rows := make([]store.Row, 15_000)
	x := uint64(1)
	for i := range rows {
		x = x*6364136223846793005 + 1442695040888963407
		rows[i] = store.Row{TimeMs: 1_700_000_000_000 + int64(len(rows)-i)*1000, Value: metric.Round(float64(x>>11) / 1e3), Series: s}
	}
	const limit = 32 << 10
	got := map[int64]bool{}
	chunks := 0
	var c chunk
	for rest := rows; len(rest) > 0; {
		var err error
		if rest, err = e.pack(&c, rest, limit, timeRule{}); err != nil {
			t.Fatal(err)
		}
		chunks++
		if len(c.body) > limit {
			t.Fatalf("body of %d bytes", len(c.body))
		}
		samples, _, err := readBody(http.Header{"Content-Encoding": {"gzip"}}, bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range samples {
			var at int64
			fmt.Sscanf(a.key, "noise@%d", &at)
			if got[at] {
				t.Fatalf("%s twice", a.key)
			}
			got[at] = true
		}
	}
	if len(got) != len(rows) || chunks < 3 {
		t.Errorf("%d of %d samples in %d chunks", len(got), len(rows), chunks)
	}
}

func TestNoRequestIsOverTheLimit(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) {
		c.Remote.ChunkSize, c.Remote.BatchSize = 60_000, 60_000
		c.Remote.UploadInterval = time.Hour // how long a round may take, on the slowest machine
	})
	largest := 0
	b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		largest = max(largest, len(body))
		return respond(204, ""), err
	})
	x := uint64(1)
	var samples []metric.Sample
	for i := range 60_000 {
		x = x*6364136223846793005 + 1442695040888963407
		samples = append(samples, metric.Sample{Name: "noise", TimeMs: b.last - int64(i), Value: metric.Round(float64(x>>11) / 1e3)})
	}
	if _, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: samples}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if largest > maxChunkBytes || largest < maxChunkBytes/4 {
		t.Errorf("the largest body has %d bytes, at most %d are allowed", largest, maxChunkBytes)
	}
	b.want(0, 60_000, 0)
}

func TestSamplesThatTheServerWouldDropAreRejectedBeforeSending(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import")
	b.record(1, "good")
	now := time.Now().UnixMilli()
	samples := []metric.Sample{
		{Name: "old", TimeMs: now - 32*24*3600_000, Value: 1},
		{Name: "ahead", TimeMs: now + 49*3600_000, Value: 1},
		{Name: "epoch", TimeMs: 0, Value: 1},
		{Name: strings.Repeat("n", 300), TimeMs: now, Value: 1},
		{Name: "tag", Tags: metric.Tags("k", strings.Repeat("v", 5000)), TimeMs: now, Value: 1},
	}
	if _, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Samples: samples}}}); err != nil {
		t.Fatal(err)
	}
	sent := 0
	b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		samples, _, err := readBody(r.Header, r.Body)
		sent += len(samples)
		return respond(204, ""), err
	})
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(2, 1, 3) // a time is judged once the server's is confirmed
	b.minutePasses()
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 1, 5)
	if sent != 1 {
		t.Errorf("%d samples were sent", sent)
	}
	reasons := ""
	if err := b.db.Rejections(t.Context(), func(r store.Rejection) error { reasons += r.Reason + "\n"; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"older than the server's retention", "48 h ahead", "not after 1970", "over 256 bytes", "over 4096 bytes"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("no %q in\n%s", want, reasons)
		}
	}
	if b.ship.report.self.Tally.Value(rejected) != 5 {
		t.Errorf("counted %v", b.ship.report.self.Tally.Value(rejected))
	}
}

func TestCountsContinueAfterARestartAndStatusShowsWhatHappened(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import")
	code := 204
	serve := transportFunc(func(*http.Request) (*http.Response, error) {
		return respond(code, map[int]string{503: "words"}[code]), nil
	})
	b.ship.client.transport = serve
	b.record(10, "a")
	b.round()
	code = 503
	b.record(1, "a")
	if err := b.round(); err == nil || !strings.Contains(err.Error(), "HTTP 503") || !strings.Contains(err.Error(), "kept") {
		t.Errorf("error %v", err)
	}
	st := b.status()
	if st.Succeeded != 10 || st.Failed != 1 || st.FailingSinceMs == 0 || !strings.Contains(st.Detail, `"outcome":"later"`) || !strings.Contains(st.Detail, `"http_status":503`) {
		t.Errorf("%+v", st)
	}
	b.db.Close()
	b.open()
	b.ship.client.transport = serve
	code = 204
	b.round()
	if got := b.ship.report.self.Tally.Value(uploaded); got != 11 {
		t.Errorf("uploaded %v, want 11", got)
	}
	if st := b.status(); st.Succeeded != 11 || st.Failed != 1 || st.FailingSinceMs != 0 {
		t.Errorf("%+v", st)
	}
	if err := b.ship.Stop(t.Context()); err != nil || b.status().State != status.Stopped {
		t.Errorf("%v %+v", err, b.status())
	}
}

func TestTheFirstRoundIsSmallAndImmediateAndTheNextIsOnSchedule(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import")
	requests := 0
	b.ship.client.transport = transportFunc(func(*http.Request) (*http.Response, error) { requests++; return respond(204, ""), nil })
	b.ship.first.until = time.Now().Add(firstRoundFor)
	b.record(1, "a")
	b.ship.first.notBefore = time.Now().Add(time.Minute)
	if next, err := b.ship.Round(t.Context()); err != nil || next <= 0 || next > time.Minute || requests > 0 {
		t.Errorf("before its share of the first second: %s, %v, %d requests", next, err, requests)
	}
	b.ship.first.notBefore, b.ship.first.until = time.Time{}, time.Time{}
	b.round()
	requests = 0
	b.ship.first.until = time.Now().Add(firstRoundFor)
	b.ship.report.component = status.NewComponent(status.Daemon{Name: "metrics-shipper"}, "shipper", time.Second)
	if next, err := b.ship.Round(t.Context()); err != nil || next != firstRoundEvery {
		t.Errorf("with nothing pending: %s, %v", next, err)
	}
	b.record(200, "a")
	next, err := b.ship.Round(t.Context())
	if err != nil || next <= 0 || next > 32*time.Second {
		t.Errorf("%s, %v", next, err)
	}
	if requests != 1 {
		t.Errorf("%d requests", requests)
	}
	b.want(150, 51, 0)
}

func TestFirstRoundsOfAFleetSpreadOverASecond(t *testing.T) {
	var tenths [10]int
	for i := range 1000 {
		tenths[share(time.Second, fmt.Sprintf("board-%04d", i))/(100*time.Millisecond)]++
	}
	if least := slices.Min(tenths[:]); least < 50 {
		t.Errorf("of 1000 boards in tenths of a second: %v", tenths)
	}
	before := time.Now()
	b := newBench(t, "http://server.example/api/v1/import")
	if at := b.ship.first.notBefore.Sub(before); at < share(time.Second, "board-1") || time.Until(b.ship.first.notBefore) >= time.Second {
		t.Errorf("the first round begins after %s", at)
	}
}

func TestWithoutAnAnswerNoWaitIsLongerThanARound(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) { c.Remote.Retry.MaxBackoff = 10 * c.Remote.UploadInterval })
	for _, c := range []struct {
		fault *fault
		long  bool
	}{
		{&fault{outcome: Later, err: io.EOF}, false},
		{&fault{outcome: Later, status: 503, err: io.EOF}, true},
		{&fault{outcome: Later, status: 429, err: io.EOF}, true},
		{&fault{outcome: Misconfigured, err: io.EOF}, true},
	} {
		b.ship.pacing.failed = 50
		if wait := b.ship.retry(c.fault); wait > b.cfg.Remote.UploadInterval != c.long {
			t.Errorf("%+v: %s", c.fault, wait)
		}
	}
}

func TestDisabledShipperSendsNothingAndStaysAlive(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) { c.Remote.Enabled = false })
	b.ship.client.transport = transportFunc(func(*http.Request) (*http.Response, error) { t.Error("a request"); return respond(204, ""), nil })
	b.record(2, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ship.Drain(t.Context()); err == nil {
		t.Error("-once said that all was sent")
	}
	if st := b.status(); st.HeartbeatMs == 0 || !strings.Contains(st.Detail, "disabled") {
		t.Errorf("%+v", st)
	}
	b.want(2, 0, 0)
}

// With a short interval health calls a shipper hung that writes no heartbeat
// while it waits for its first samples.
func TestAShipperThatWaitsForItsFirstSamplesHasAHeartbeat(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) { c.Remote.UploadInterval = 2 * time.Second })
	b.ship.first = firstRound{until: time.Now().Add(time.Hour)}
	written := map[int64]bool{}
	for range 6 {
		if _, err := b.ship.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		written[b.status().HeartbeatMs] = true
		b.ship.report.recorded = b.ship.report.recorded.Add(-time.Second) // it passes
		time.Sleep(2 * time.Millisecond)
	}
	if len(written) != 6 {
		t.Errorf("%d heartbeats in 6 s", len(written))
	}
	b.ship.Round(t.Context())
	last := b.status().HeartbeatMs
	time.Sleep(2 * time.Millisecond)
	b.ship.Round(t.Context())
	if b.status().HeartbeatMs != last {
		t.Error("a heartbeat is written each time that it looks")
	}
}

func TestANameInLocalIsExplainedByMissingMDNS(t *testing.T) {
	for host, told := range map[string]bool{"metrics.local": true, "metrics.local.": true, "metrics.invalid": false} {
		b := newBench(t, "http://"+host+":8428/api/v1/import")
		b.record(1, "a")
		b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
			return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
		})
		err := b.round()
		if err == nil || strings.Contains(err.Error(), "mDNS") != told || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
