package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A portal stands where the server should be and stores nothing, as the sign-in
// page of a network, a static page or a broken proxy does. Each upload gets the
// next of its answers, and all else a page. Its clock stands in 1970.
type portal struct {
	server *http.Server

	mu    sync.Mutex
	posts int
	since time.Time // it stands here
}

// portalAnswers are what such pages answer to an upload.
var portalAnswers = []struct {
	status int
	header map[string]string
	body   string
}{
	{200, map[string]string{"Content-Type": "text/html"}, "<html>please log in</html>"},
	{200, map[string]string{"Content-Type": "text/plain"}, "\xef\xbb\xbf<!DOCTYPE html><html>please log in</html>"},
	{200, map[string]string{"Content-Type": "text/plain"}, "Please sign in at http://192.0.2.1/login\n"},
	{200, nil, ""},
	{200, map[string]string{"Content-Type": "application/json"}, `{"error":"login required","code":511}`},
	{200, map[string]string{"Content-Type": "application/json"}, `{}`},
	{200, map[string]string{"Content-Type": "text/plain"}, "OK"},
	{200, map[string]string{"Content-Encoding": "gzip"}, gzipText("<html>please log in</html>")},
	{202, nil, ""},
	{204, nil, ""},
	{203, nil, ""},
	{205, nil, ""},
	{200, nil, "\r\n"},
	{200, map[string]string{"Transfer-Encoding": "chunked"}, ""},
	{200, map[string]string{"Content-Encoding": "gzip"}, gzipText("")},
	{200, map[string]string{"Content-Type": "application/json"}, `{"accepted":true}`},
	{200, map[string]string{"Content-Type": "application/json"}, `{"accepted":99999999}`},
	{200, map[string]string{"Content-Type": "application/json"}, `null`},
	{201, map[string]string{"Content-Type": "application/json"}, `{"status":"success"}`},
	{200, map[string]string{"Content-Type": "application/xml"}, "<?xml version=\"1.0\"?><WISPAccessGatewayParam/>"},
	{206, map[string]string{"Content-Type": "text/html"}, "<html>"},
	{302, map[string]string{"Location": "http://192.0.2.1/login"}, ""},
	{302, map[string]string{"Location": "/api/v1/import", "Content-Type": "text/html"}, "<html>moved</html>"},
	{307, map[string]string{"Location": "/splash"}, ""},
	{304, nil, ""},
	{403, map[string]string{"Content-Type": "text/html"}, "<html>forbidden</html>"},
	{404, map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<html>not found</html>"},
	{405, map[string]string{"Content-Type": "text/html"}, "<html>405 Not Allowed</html>"},
	{400, map[string]string{"Content-Type": "text/html"}, "<html>bad request</html>"},
	{511, map[string]string{"Content-Type": "text/html"}, "<html>please log in</html>"},
}

func gzipText(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a := portalAnswers[0]
	if r.Method == http.MethodPost {
		_, err := gzip.NewReader(bytes.NewReader(body))
		a = portalAnswers[p.next(err == nil)]
	}
	w.Header().Set("Date", "Thu, 01 Jan 1970 00:20:00 GMT")
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// next counts an upload and returns which answer it gets. What is no upload gets
// the answer of the one before it.
func (p *portal) next(upload bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !upload {
		return max(p.posts-1, 0) % len(portalAnswers)
	}
	p.posts++
	return (p.posts - 1) % len(portalAnswers)
}

type portalKey struct{}

// portal start: a portal at $VM. portal wait N [DURATION]: until it gave each of its
// answers N times, and stood for so long. portal stop.
func cmdPortal(ts *testscript.TestScript, neg bool, args []string) {
	held, _ := ts.Value(portalKey{}).(*portal)
	switch {
	case neg || held == nil || len(args) == 0:
		ts.Fatalf("usage: portal start|wait N [DURATION]|stop")
	case args[0] == "start":
		l, err := net.Listen("tcp", ts.Getenv("VM"))
		ts.Check(err)
		held.server, held.since = &http.Server{Handler: held}, time.Now()
		go held.server.Serve(l)
		ts.Defer(func() { held.server.Close() })
	case args[0] == "wait" && len(args) >= 2:
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		stands := time.Duration(0)
		if len(args) > 2 {
			stands, err = time.ParseDuration(args[2])
			ts.Check(err)
		}
		poll(ts, "the portal to be asked often enough", func() (string, bool) {
			held.mu.Lock()
			defer held.mu.Unlock()
			return fmt.Sprintf("%d uploads", held.posts), held.posts >= n*len(portalAnswers) && time.Since(held.since) >= stands
		})
	case args[0] == "stop":
		ts.Check(held.server.Close())
	default:
		ts.Fatalf("portal %s: unknown", args[0])
	}
}
