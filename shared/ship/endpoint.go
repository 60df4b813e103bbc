package ship

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

const (
	// probeBody is sent as gzip and is not, which an import endpoint answers with
	// 400. It is longer than a gzip header, so that it cannot look like a gzip stream
	// that was cut short.
	probeBody = "Not gzip. Is an import endpoint here?"
	// namedFor is how long a server that named itself must go on naming itself. After
	// that, a server without a name may have replaced it.
	namedFor = 24 * time.Hour
)

// An endpoint remembers whether the server at remote.url has shown that it accepts
// samples. Captive portals, static pages and most other paths of a real server answer
// 2xx as well, and store nothing.
type endpoint struct {
	importPath bool // remote.url ends as it must, or remote.any_path is set

	mu      sync.Mutex
	peer    string    // the address that refused the probe
	refused bool      // it refused the probe
	foreign bool      // the last answer was not a metrics server's
	named   time.Time // when an answer last had a name, zero: never
}

func newEndpoint(r config.Remote) *endpoint { return &endpoint{importPath: r.PathAdvice() == ""} }

// A standing is what an answer without a body says about the endpoint.
type standing int

const (
	shown    standing = iota // a metrics server gave it
	unproven                 // a metrics server may have given it: send the probe
	nameless                 // the server there names itself, and this answer does not
	noImport                 // remote.url has a path at which no server accepts samples
)

// standingOf says whether an answer comes from an endpoint that has shown that it is
// a metrics server: by a verified certificate, by its name in the answer, or by
// refusing the probe since the last start, change of address or foreign answer.
func (e *endpoint) standingOf(a answer) standing {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.importPath:
		return noImport
	case a.verified || a.server != "":
		return shown
	case !e.named.IsZero() && time.Since(e.named) < namedFor:
		return nameless
	case e.refused && e.peer == a.peer:
		return shown
	}
	return unproven
}

// identified says whether an answer itself shows that a server gave it. Then its Date
// can be used, whatever the path.
func identified(a answer) bool { return a.verified || a.server != "" }

// isPage says whether an answer is a page for people that nothing shows to be the
// server's. The sign-in pages of networks bear any status: a web server with
// nothing but files answers an upload with 405.
func isPage(a answer) bool {
	if identified(a) {
		return false
	}
	kind, _, _ := strings.Cut(strings.ToLower(a.header.Get("Content-Type")), ";")
	text := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\xef\xbb\xbf")))
	return strings.TrimSpace(kind) == "text/html" || bytes.HasPrefix(text, []byte("<"))
}

// accept notes an answer of the metrics server.
func (e *endpoint) accept(a answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.foreign = false
	if a.server != "" {
		e.named = time.Now()
	}
}

// reject notes an answer of something else: the endpoint has to show itself again.
func (e *endpoint) reject() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.foreign, e.refused = true, false
}

// isForeign says that the last answer was not one of a metrics server.
func (e *endpoint) isForeign() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.foreign
}

// probe sends a body that only a metrics server refuses.
func (c *client) probe(ctx context.Context) (a answer, refused bool, err error) {
	header := c.header()
	header["Content-Encoding"] = []string{"gzip"}
	a, err = c.do(ctx, http.MethodPost, c.url, header, []byte(probeBody))
	if err != nil || a.status != http.StatusBadRequest {
		return a, false, err
	}
	c.endpoint.mu.Lock()
	defer c.endpoint.mu.Unlock()
	c.endpoint.refused, c.endpoint.peer = true, a.peer
	return a, true, nil
}

// prove sends the probe to an endpoint that gave an answer that a captive portal may
// give as well. If it refuses the probe, the chunk is sent again, because the answer
// before the probe proves nothing.
func (s *Shipper) prove(ctx context.Context, b *round, r *request) result {
	first := r.a
	a, refused, err := s.client.probe(ctx)
	s.count(b, a)
	switch {
	case err != nil:
		return s.unanswered(a, err)
	case refused:
		b.requests++
		r.a, r.err = s.client.post(ctx, r.c.body)
		s.count(b, r.a)
		return s.interpret(r.c, r.a, r.err)
	}
	return s.foreign(first,
		fmt.Errorf("%w: it does not name itself, and it answered HTTP %d to a body that every metrics server rejects",
			errNotOurs, a.status))
}

// interpretSilence says what an answer without a body means: everything is delivered,
// if a metrics server gave it.
func (s *Shipper) interpretSilence(c *chunk, a answer) result {
	switch s.client.endpoint.standingOf(a) {
	case noImport:
		return s.foreign(a, fmt.Errorf("%w; %s", errNotOurs, s.cfg.PathAdvice()))
	case nameless:
		return s.foreign(a, fmt.Errorf("%w: the server there names itself, and this answer does not", errNotOurs))
	case unproven:
		return result{unproven: true}
	}
	return result{accepted: c.sent}
}

// foreign is the result of an answer that did not come from a metrics server. Its
// Retry-After is ignored.
func (s *Shipper) foreign(a answer, why error) result {
	s.client.endpoint.reject()
	kind := ""
	if text := s.client.creds.excerpt([]byte(a.header.Get("Content-Type"))); text != "" {
		kind = ", " + text
	}
	err := fmt.Errorf("%s answered HTTP %d%s%s: %w", s.client.url.Host, a.status, kind,
		quoted(s.client.creds.excerpt(a.body)), why)
	s.report.detail.Misconfigured = err.Error()
	return result{outcome: Misconfigured, err: &fault{outcome: Misconfigured, status: a.status, foreign: true, err: err}}
}
