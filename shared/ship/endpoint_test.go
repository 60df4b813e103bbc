package ship

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// A portalServer answers each kind of request as a test sets it, and counts the
// samples that reached a server that keeps them.
type portalServer struct {
	*httptest.Server
	mu sync.Mutex
	// To a body that is not gzip, to samples or nothing, and to GET.
	toProbe, toPost, toGet reply
	probes, posts, kept    int
}

// A reply is what a server says.
type reply struct {
	status int
	header map[string]string
	body   string
	keeps  bool
}

func withName(r reply) reply {
	r.header = map[string]string{"X-Server-Hostname": "vm-1"}
	return r
}

// realServer answers as VictoriaMetrics does.
func realServer() (toProbe, toPost, toGet reply) {
	return withName(reply{status: 400, body: "cannot read gzipped vmimport data"}), withName(reply{status: 204, keeps: true}), withName(reply{status: 200, body: "OK"})
}

// nameless takes the names off.
func namelessServer() (toProbe, toPost, toGet reply) {
	toProbe, toPost, toGet = realServer()
	toProbe.header, toPost.header, toGet.header = nil, nil, nil
	return toProbe, toPost, toGet
}

func newPortalServer(t *testing.T, toProbe, toPost, toGet reply) *portalServer {
	t.Helper()
	p := &portalServer{toProbe: toProbe, toPost: toPost, toGet: toGet}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *portalServer) becomes(toProbe, toPost, toGet reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toProbe, p.toPost, p.toGet = toProbe, toPost, toGet
}

func (p *portalServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	say := p.toPost
	samples, _, err := readBody(r.Header, bytes.NewReader(body))
	switch {
	case r.Method == http.MethodGet:
		say = p.toGet
	case err != nil && r.Header.Get("Content-Encoding") == "gzip":
		p.probes++
		say = p.toProbe
	default:
		p.posts++
		if say.keeps {
			p.kept += len(samples)
		}
	}
	for k, v := range say.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(say.status)
	io.WriteString(w, say.body)
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestOnlyAnAnswerOfAProvenServerDelivers(t *testing.T) {
	page := func(status int, body string, header ...string) (a, b, c reply) {
		h := map[string]string{}
		for i := 0; i < len(header); i += 2 {
			h[header[i]] = header[i+1]
		}
		r := reply{status: status, header: h, body: body}
		return r, r, r
	}
	all := func(r, s, t reply) [3]reply { return [3]reply{r, s, t} }
	probed := func(status int) [3]reply {
		_, post, get := namelessServer()
		return [3]reply{{status: status}, post, get}
	}
	for name, c := range map[string]struct {
		says      [3]reply
		delivered bool
		why       string // in the fault
	}{
		"a named server":                     {all(realServer()), true, ""},
		"a server without a name":            {all(namelessServer()), true, ""},
		"a page":                             {all(page(200, "<html>Sign in</html>", "Content-Type", "text/html")), false, `HTTP 200, text/html: "<html>Sign in</html>"`},
		"a page behind a byte order mark":    {all(page(200, "\xef\xbb\xbf<html>", "Content-Type", "text/plain")), false, "HTTP 200, text/plain"},
		"plain text":                         {all(page(200, "Please sign in\n", "Content-Type", "text/plain")), false, `"Please sign in"`},
		"OK":                                 {all(page(200, "OK")), false, "not a report"},
		"OK with a name":                     {all(page(200, "OK", "X-Server-Hostname", "vm-1")), false, "not a report"},
		"200 without a body":                 {all(page(200, "")), false, "does not name itself"},
		"204":                                {all(page(204, "")), false, "HTTP 204 to a body"},
		"202 without a body":                 {all(page(202, "")), false, "HTTP 202"},
		"202 with a name":                    {all(page(202, "", "X-Server-Hostname", "vm-1")), false, "HTTP 202"},
		"206":                                {all(page(206, "")), false, "HTTP 206"},
		"JSON that is not a report":          {all(page(200, `{"error":"login required"}`, "Content-Type", "application/json")), false, "accepted"},
		"an empty object":                    {all(page(200, `{}`, "Content-Type", "application/json")), false, "accepted"},
		"a page in gzip":                     {all(page(200, gzipped("<html>"), "Content-Encoding", "gzip")), false, "<html>"},
		"nothing in gzip":                    {all(page(200, gzipped(""), "Content-Encoding", "gzip")), false, "not a report"},
		"what says it is gzip and is not":    {all(page(200, "garbage", "Content-Encoding", "gzip")), false, "not a report"},
		"a redirect":                         {all(page(302, "", "Location", "http://192.0.2.1/login")), false, "HTTP 302"},
		"405, a page":                        {all(page(405, "<html>405 Not Allowed</html>", "Content-Type", "text/html")), false, "HTTP 405, text/html"},
		"404, a page":                        {all(page(404, "<!DOCTYPE html>", "Content-Type", "text/plain")), false, "it is a page"},
		"403, a page without a kind":         {all(page(403, "\xef\xbb\xbf <?xml version='1.0'?>")), false, "it is a page"},
		"203 without a body":                 {all(page(203, "")), false, "HTTP 203"},
		"205":                                {all(page(205, "")), false, "HTTP 205"},
		"white space":                        {all(page(200, "\r\n")), false, "not a report"},
		"a report that counts in words":      {all(page(200, `{"accepted":true}`, "Content-Type", "application/json")), false, "cannot be read"},
		"a report that is a list":            {all(page(200, `[{"accepted":120}]`, "Content-Type", "application/json")), false, "not a report"},
		"511":                                {all(page(511, "sign in")), false, "HTTP 511"},
		"204, and the probe is redirected":   {probed(302), false, "HTTP 302"},
		"204, and the probe is unauthorized": {probed(401), false, "HTTP 401"},
		"204, and the probe fails":           {probed(503), false, "HTTP 503"},
		"204, and the probe is found good":   {probed(200), false, "HTTP 200"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPortalServer(t, c.says[0], c.says[1], c.says[2])
			b := newBench(t, p.URL+"/api/v1/import")
			b.record(120, "a")
			for range 3 {
				err := b.round()
				switch {
				case c.delivered:
					if err != nil {
						t.Fatal(err)
					}
				case err == nil || !strings.Contains(err.Error(), c.why):
					t.Errorf("%v, want %q", err, c.why)
				}
			}
			if c.delivered {
				b.want(0, 120, 0)
				return
			}
			b.want(120, 0, 0)
			if wait := time.Until(b.ship.pacing.notBefore); wait > b.cfg.Remote.UploadInterval {
				t.Errorf("waits %s", wait)
			}
			if d := b.ship.report.detail; c.says[0].status < 500 && (d.Misconfigured == "" || d.Outcome != "misconfigured") {
				t.Errorf("the status row says %+v", d)
			}
			// The portal goes away: everything arrives, though nothing was started again.
			p.becomes(realServer())
			p.kept = 0
			if err := b.round(); err != nil {
				t.Fatal(err)
			}
			b.want(0, 120, 0)
			if p.kept != 120 || b.ship.report.detail.Misconfigured != "" {
				t.Errorf("%d samples arrived; %+v", p.kept, b.ship.report.detail)
			}
		})
	}
}

func TestAPageThatRejectsEverythingIsTriedAgainAfterAnInterval(t *testing.T) {
	for _, status := range []int{400, 402, 413, 451} {
		r := reply{status: status, header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: "<html>blocked</html>"}
		p := newPortalServer(t, r, r, r)
		b := newBench(t, p.URL+"/api/v1/import")
		b.record(120, "a")
		for range 3 {
			if err := b.round(); err == nil || !strings.Contains(err.Error(), "sign in") || !strings.Contains(err.Error(), "to everything") {
				t.Errorf("%d: %v", status, err)
			}
			if wait := time.Until(b.ship.pacing.notBefore); wait > b.cfg.Remote.UploadInterval {
				t.Errorf("%d: waits %s", status, wait)
			}
		}
		if pending, delivered, rejected := b.states(); len(pending) < 120 || len(delivered)+len(rejected) > 0 {
			t.Errorf("%d: %d delivered, %d rejected", status, len(delivered), len(rejected))
		}
		p.becomes(realServer())
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		if pending, _, rejected := b.states(); len(pending)+len(rejected) > 0 || p.kept < 120 {
			t.Errorf("%d: %d pending, %d rejected, %d arrived", status, len(pending), len(rejected), p.kept)
		}
	}
}

func TestAPortalGetsOneSampleARound(t *testing.T) {
	r := reply{status: 200, body: "<html>"}
	p := newPortalServer(t, r, r, r)
	b := newBench(t, p.URL+"/api/v1/import")
	b.record(1000, "a")
	for range 10 {
		b.round()
	}
	sent := b.ship.client.link.sent.Load()
	if limit := b.ship.chunks.limit; limit != b.cfg.Remote.ChunkSize {
		t.Errorf("chunks of %d samples after a portal, %d before", limit, b.cfg.Remote.ChunkSize)
	}
	if p.posts != 10 || sent > 10*500+1000 {
		t.Errorf("%d requests, %d bytes", p.posts, sent)
	}
}

func TestAnEndpointWithoutAServerNameIsProbedOnceAndItsFirstAnswerProvesNothing(t *testing.T) {
	p := newPortalServer(t, reply{status: 400}, reply{status: 204}, reply{status: 204}) // a portal answers the first request
	b := newBench(t, p.URL+"/api/v1/import")
	b.record(10, "a")
	p.toPost.keeps = true
	for range 5 {
		b.record(10, "a")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	b.want(0, 60, 0)
	if p.probes != 1 || p.posts != 6 {
		t.Errorf("%d probes, %d posts: want one probe, and the chunk before it again", p.probes, p.posts)
	}
	// After a foreign answer it has to show itself again.
	p.becomes(reply{status: 200, body: "page"}, reply{status: 200, body: "page"}, reply{status: 200})
	b.record(10, "a")
	b.round()
	p.becomes(reply{status: 204}, reply{status: 204}, reply{status: 204})
	b.round()
	b.want(10, 60, 0)
	if p.probes != 2 {
		t.Errorf("%d probes", p.probes)
	}
}

func TestAServerThatSentItsNameMustKeepSendingIt(t *testing.T) {
	p := newPortalServer(t, reply{}, reply{}, reply{})
	p.becomes(realServer())
	b := newBench(t, p.URL+"/api/v1/import")
	b.record(10, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	p.becomes(namelessServer()) // even one that refuses the probe
	p.toPost.keeps = false
	b.record(10, "a")
	if err := b.round(); err == nil || !strings.Contains(err.Error(), "names itself") {
		t.Errorf("an answer without the name: %v", err)
	}
	b.want(10, 10, 0)
	p.becomes(realServer())
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 20, 0)
	// A server may be replaced by one without a name, in a day.
	b.ship.client.endpoint.named = time.Now().Add(-namedFor)
	p.becomes(namelessServer())
	b.record(10, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 30, 0)
}

func TestAReportDeliversFromAnyPathAndSilenceOnlyFromTheImportPath(t *testing.T) {
	for _, c := range []struct {
		path      string
		anyPath   bool
		report    bool
		delivered bool
	}{
		{"/api/v1/import", false, false, true},
		{"/prometheus/api/v1/import", false, false, true},
		{"/insert/0/prometheus/api/v1/import", false, false, true},
		{"/api/v1/import?extra_label=site=7", false, false, true},
		{"/api/v1/import/", false, false, false},
		{"/write", false, false, false},
		{"/health", false, false, false},
		{"", false, false, false},
		{"/telemetry", false, true, true},
		{"/telemetry", true, false, true},
	} {
		toProbe, toPost, toGet := realServer()
		if c.report {
			toPost = reply{status: 200, body: `{"accepted":10}`, keeps: true}
		}
		p := newPortalServer(t, toProbe, toPost, toGet)
		b := newBench(t, p.URL+c.path, func(cfg *config.Config) {
			cfg.Remote.AnyPath = c.anyPath
			cfg.Monitoring.ClockSkewURL = p.URL + "/health"
		})
		b.record(10, "a")
		err := b.round()
		if c.delivered {
			if err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
			b.want(0, 10, 0)
			continue
		}
		b.want(10, 0, 0)
		if err == nil || !strings.Contains(err.Error(), "/api/v1/import, or remote.any_path") {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

func TestACheckedCertificateStandsForAName(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer server.Close()
	b := newBench(t, server.URL+"/api/v1/import")
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	b.ship.client.transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	b.record(10, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 10, 0)
}

// An old server or proxy closes each connection.
func TestAnHTTP10ServerDelivers(t *testing.T) {
	for _, name := range []string{"X-Server-Hostname: old\r\n", ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				status := "400 Bad Request"
				if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					if body, err := io.ReadAll(req.Body); err == nil && !strings.Contains(string(body), probeBody) {
						status = "204 No Content"
					}
				}
				io.WriteString(conn, "HTTP/1.0 "+status+"\r\n"+name+"\r\n")
				conn.Close()
			}
		})
		b := newBench(t, "http://"+l.Addr().String()+"/api/v1/import")
		b.record(10, "a")
		if err := b.round(); err != nil {
			t.Error(err)
		}
		b.want(0, 10, 0)
		l.Close()
		wg.Wait()
	}
}
