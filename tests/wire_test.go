package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taniwha3/thugshells/shared/vmjson"
)

// A wire carries requests to a server and the answers back, counts the samples
// that pass, and can be cut.
type wire struct {
	t      testing.TB
	addr   string
	server string
	http   *http.Server // nil: cut

	mu       sync.Mutex
	taken    map[moment]int // samples that the server took, and how often
	order    []passage
	requests int
	at       func(stage) (lost bool) // called on the way of each request; it can get lost
}

// A stage is how far a request has come.
type stage int

const (
	arrived  stage = iota // the server knows nothing of it yet
	answered              // the server has taken it and the sender does not know
	passed                // the sender has the answer and may not have marked it
	stages
)

func (s stage) String() string { return [...]string{"arrived", "answered", "passed"}[s] }

// A passage is one request that the server took.
type passage struct {
	samples []moment
}

// A moment is when a sample was taken, and of what.
type moment struct {
	series string
	atMs   int64
}

// newWire carries requests to the server at base.
func newWire(t testing.TB, base string) *wire {
	t.Helper()
	w := &wire{t: t, server: base, taken: map[moment]int{}, addr: "127.0.0.1:0"}
	w.mend()
	t.Cleanup(w.cut)
	return w
}

func (w *wire) url() string { return "http://" + w.addr }

// mend makes the wire listen.
func (w *wire) mend() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.http = &http.Server{Handler: w}
	go w.http.Serve(l)
}

// cut ends all connections, and nothing listens any more.
func (w *wire) cut() {
	if w.http != nil {
		w.http.Close()
		w.http = nil
	}
}

// reach gives up a request, and its connection, if it got lost at this stage.
func (w *wire) reach(s stage) {
	w.mu.Lock()
	at := w.at
	w.mu.Unlock()
	if at != nil && at(s) {
		panic(http.ErrAbortHandler)
	}
}

// watch has fn called at every stage of every upload from now on.
func (w *wire) watch(fn func(stage) (lost bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = fn
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	upload := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/api/v1/import")
	// What came of the request of a program that was killed goes on all the same.
	body, broken := io.ReadAll(r.Body)
	if upload {
		w.reach(arrived)
	}
	req, err := http.NewRequest(r.Method, w.server+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	if upload && resp.StatusCode < 300 && broken == nil {
		w.enter(r.Header, body)
		w.reach(answered)
	}
	maps.Copy(rw.Header(), resp.Header)
	rw.WriteHeader(resp.StatusCode)
	rw.Write(answer)
	if upload && resp.StatusCode < 300 && broken == nil {
		http.NewResponseController(rw).Flush()
		w.reach(passed)
	}
}

// enter counts the samples of a body.
func (w *wire) enter(header http.Header, body []byte) {
	var text io.Reader = bytes.NewReader(body)
	if header.Get("Content-Encoding") == "gzip" {
		var err error
		if text, err = gzip.NewReader(text); err != nil {
			w.t.Errorf("a body that is no gzip went to the server: %v", err)
			return
		}
	}
	p := passage{}
	err := vmjson.Read(text, vmjson.Limits{}, func(number int, line vmjson.Line, refused error) error {
		if refused != nil {
			return fmt.Errorf("line %d: %w", number, refused)
		}
		series := seriesName(line)
		for _, at := range line.Timestamps {
			p.samples = append(p.samples, moment{series, at})
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("a body that cannot be read went to the server: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	w.order = append(w.order, p)
	for _, s := range p.samples {
		w.taken[s]++
	}
}

func seriesName(line vmjson.Line) string {
	labels := slices.Clone(line.Labels)
	slices.SortFunc(labels, func(a, b vmjson.Label) int { return strings.Compare(a.Name, b.Name) })
	return fmt.Sprint(line.Name, labels)
}

// counts returns how many samples the server took, and how many of them it had
// taken before.
func (w *wire) counts() (samples, again int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.taken {
		samples += n
		again += n - 1
	}
	return samples, again
}

// passages returns what the server took, in that order.
func (w *wire) passages() []passage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}
