package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/secretfile"
)

const (
	// maxAnswerBytes bounds what is read of an answer's body, as sent and as
	// unpacked.
	maxAnswerBytes = 64 << 10
	// maxHeaderBytes bounds an answer's header.
	maxHeaderBytes = 64 << 10
	// grace is how long the present request may continue after the daemon was asked to
	// stop, so that rows that the server accepts meanwhile are marked.
	grace = 2 * time.Second
	// deadlineAfter is how long after a request's timeout its connection is closed.
	deadlineAfter = time.Second
	// maxWords is how many bytes of the server's message an error repeats.
	maxWords = 200
)

// errSwitched is the fault of an answer 101, after which the connection is not HTTP.
var errSwitched = errors.New("HTTP 101 Switching Protocols, which was not asked for")

// A client makes single requests to one server. It follows no redirect: a redirected
// POST would become a GET that succeeds and stores nothing, and would take the
// credentials to another host. It makes one request at a time, so that the counted
// bytes belong to it.
type client struct {
	url       *url.URL
	userAgent string
	device    string
	compress  bool
	timeout   time.Duration
	transport http.RoundTripper
	link      *link
	endpoint  *endpoint
	creds     *credentials

	mu sync.Mutex
}

// An answer is the server's answer and what the request cost.
type answer struct {
	status         int
	header         http.Header
	server         string // its name, "" if it does not name itself
	peer           string // the address that answered
	verified       bool   // over TLS, with a certificate that was checked
	body           []byte
	empty          bool // the body has no byte, not even of an empty gzip stream
	cut            bool // the body is longer than maxAnswerBytes
	sent, received int64
	bodySent       bool // some of the body, or all, was given to the connection
	begun          time.Time
	took           time.Duration // to the end of the body
	headerTook     time.Duration
}

// newClient makes the client of remote.url.
func newClient(cfg config.Config, version string) (*client, error) {
	to, err := url.Parse(cfg.Remote.URL)
	if err != nil {
		return nil, errors.New("remote.url is not a URL")
	}
	creds, err := newCredentials(cfg.Remote, to, os.Getenv("CREDENTIALS_DIRECTORY"))
	if err != nil {
		return nil, err
	}
	c := &client{
		url: to, userAgent: "belabox-metrics/" + version, device: cfg.Device.ID,
		compress: cfg.Remote.Compression, timeout: cfg.Remote.Timeout, link: &link{}, endpoint: newEndpoint(cfg.Remote), creds: creds,
	}
	c.transport, err = newTransport(cfg.Remote, c.link)
	return c, err
}

// plaintextSecret says whether credentials are sent over http to another machine.
func (c *client) plaintextSecret() bool {
	return c.creds.Path != "" && c.url.Scheme == "http" && !secretfile.Loopback(c.url.Hostname())
}

// post sends one chunk.
func (c *client) post(ctx context.Context, body []byte) (answer, error) {
	header := c.header()
	if c.compress && len(body) > 0 {
		header["Content-Encoding"] = []string{"gzip"}
	}
	a, err := c.do(ctx, http.MethodPost, c.url, header, body)
	if err == nil && a.status == http.StatusUnauthorized && c.creds.changed() {
		first := a
		a, err = c.do(ctx, http.MethodPost, c.url, header, body)
		a.sent, a.received = a.sent+first.sent, a.received+first.received
	}
	return a, err
}

// header returns the fields of every POST. The device is in each line of the body, and
// batch and chunk are in the log and the receipts, so no field repeats them: each would
// cost a quarter of a byte for each sample.
func (c *client) header() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "User-Agent": {c.userAgent}}
}

// do makes one request and reads the whole answer, up to the limits.
func (c *client) do(ctx context.Context, method string, to *url.URL, header http.Header, body []byte) (a answer, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The credentials are for the server of the uploads, not for that of the time.
	if to.Host == c.url.Host && to.Scheme == c.url.Scheme {
		authorization, err := c.creds.header()
		if err != nil {
			return a, &fault{outcome: Misconfigured, err: err}
		}
		if authorization != "" {
			header["Authorization"] = []string{authorization}
		}
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()

	req := &http.Request{Method: method, URL: to, Host: to.Host, Header: header, Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1}
	var bodyNext atomic.Bool
	if len(body) > 0 {
		req.ContentLength = int64(len(body))
		// A reader that net/http knows: header and body leave in one packet if they fit.
		out := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }
		req.Body = out()
		req.GetBody = func() (io.ReadCloser, error) { return out(), nil }
		limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{WroteHeaders: func() { bodyNext.Store(true) }})
	}
	sent, received := c.link.sent.Load(), c.link.received.Load()
	a.begun = time.Now()
	defer func() {
		a.took = time.Since(a.begun)
		a.sent, a.received = c.link.sent.Load()-sent, c.link.received.Load()-received
		a.bodySent = len(body) > 0 && (a.status != 0 || bodyNext.Load() && a.sent > 0)
	}()
	c.link.limit(a.begun.Add(c.timeout + deadlineAfter))
	defer c.link.limit(time.Time{})
	resp, err := c.transport.RoundTrip(req.WithContext(limited))
	if err != nil {
		return a, c.explain(limited, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		a.status = resp.StatusCode
		return a, errSwitched
	}
	a.headerTook = time.Since(a.begun)
	a.status, a.header, a.peer = resp.StatusCode, resp.Header, c.link.peer()
	a.verified = resp.TLS != nil && len(resp.TLS.VerifiedChains) > 0
	a.server = c.creds.excerpt([]byte(resp.Header.Get("X-Server-Hostname")))
	if resp.Close {
		c.link.closing.Store(true)
	}
	a.body, a.empty, a.cut, err = readAnswer(resp)
	if err != nil {
		return a, fmt.Errorf("HTTP %d, and its body broke off: %w", a.status, c.explain(limited, err))
	}
	return a, nil
}

// explain turns an error of the connection into one for people.
func (c *client) explain(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer within %s", c.timeout)
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && strings.HasSuffix(strings.TrimSuffix(c.url.Hostname(), "."), ".local") {
		return fmt.Errorf("%s; names that end in .local are resolved by mDNS, which is not supported: use the IP address, or a name that a DNS server or /etc/hosts knows", c.creds.redact(e.Error()))
	}
	if o, worded, ok := explainTLS(err, time.Now()); ok {
		return &fault{outcome: o, err: worded}
	}
	return errors.New(c.creds.redact(err.Error()))
}

// readAnswer reads a body up to the limit, so that the connection can be used again.
// No encoding is requested, but gzip may come nevertheless (RFC 9110, 12.5.3). A body
// that is declared as gzip and is not is returned as it is.
func readAnswer(resp *http.Response) (body []byte, empty, cut bool, err error) {
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err != nil || len(body) == 0 {
		return nil, true, false, err
	}
	if len(body) > maxAnswerBytes {
		return body[:maxAnswerBytes], false, true, nil
	}
	if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return body, false, false, nil
	}
	packed, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body, false, false, nil //nolint:nilerr // said above
	}
	text, err := io.ReadAll(io.LimitReader(packed, maxAnswerBytes+1))
	if err != nil {
		return body, false, false, nil //nolint:nilerr // said above
	}
	return text[:min(len(text), maxAnswerBytes)], false, len(text) > maxAnswerBytes, nil
}

// excerpt returns the start of a server's message as one line of plain text.
func excerpt(said string) string { return metric.OneLine(said, maxWords) }
