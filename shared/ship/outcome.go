package ship

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// An Outcome is what a request came to.
type Outcome int

// The outcomes. Only Delivered ever marks a sample, and only Refused ever
// blames one.
const (
	Delivered     Outcome = iota // the server took the chunk, or the part that its answer names
	Later                        // not now; the same samples go again after a wait
	Misconfigured                // the way there is wrong; nothing of it is the samples' fault
	Refused                      // this chunk as it is will never be taken
)

func (o Outcome) String() string {
	return [...]string{"delivered", "later", "misconfigured", "refused"}[o]
}

// outcomeOf says what an HTTP status means for a chunk. VictoriaMetrics answers a
// wrong path with 400, so Refused is a question first: see isolate.
func outcomeOf(status int) Outcome {
	switch {
	case status >= 200 && status < 300:
		return Delivered
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return Later
	case status >= 300 && status < 400:
		return Misconfigured
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed, status == http.StatusProxyAuthRequired:
		return Misconfigured
	case status >= 400 && status < 500:
		return Refused
	}
	return Later
}

// errNotOurs marks an answer that says 2xx and comes from something else than a
// metrics server, such as the sign-in page of a captive portal.
var errNotOurs = errors.New("not the answer of a metrics server")

// An acceptance is what a 2xx answer says about a chunk.
type acceptance struct {
	silent  bool  // it says nothing: everything was accepted, if a metrics server gave it
	all     bool  // everything was accepted
	taken   int   // unless all or lines: the first so many samples were accepted
	lines   []int // 0-based lines that were rejected; all others were accepted
	because string
}

// readAcceptance reads a 2xx answer to a chunk whose lines have the given numbers
// of samples. It is silent, as VictoriaMetrics' 204 is, or a JSON report:
//
//	{"accepted": 25}                                                the first 25 samples
//	{"accepted": 49, "rejected": [{"line": 7, "error": "too old"}]} all but line 7, counted from 1
//
// Anything else is an error, and so is a report that contradicts the chunk or
// itself: nothing of it can be believed.
func readAcceptance(a answer, lines []int) (acceptance, error) {
	body := bytes.TrimSpace(a.body)
	switch {
	case a.empty && (a.status == http.StatusOK || a.status == http.StatusNoContent):
		return acceptance{silent: true}, nil
	case a.empty:
		return acceptance{}, fmt.Errorf("%w: its body is not a report of accepted samples", errNotOurs)
	case len(body) == 0 || body[0] != '{':
		return acceptance{}, fmt.Errorf("%w: its body is not a report of accepted samples", errNotOurs)
	case a.cut:
		return acceptance{}, fmt.Errorf("%w: JSON of more than %d bytes", errNotOurs, maxAnswerBytes)
	}
	var said struct {
		Accepted *int64 `json:"accepted"`
		Rejected []struct {
			Line  int64  `json:"line"`
			Error string `json:"error"`
		} `json:"rejected"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return acceptance{}, fmt.Errorf("%w: JSON that cannot be read: %w", errNotOurs, err)
	}
	sent := int64(0)
	for _, n := range lines {
		sent += int64(n)
	}
	switch {
	case said.Accepted == nil:
		return acceptance{}, fmt.Errorf("%w: JSON without the number of accepted samples", errNotOurs)
	case *said.Accepted < 0 || *said.Accepted > sent:
		return acceptance{}, fmt.Errorf("%w: %d samples accepted of %d sent", errNotOurs, *said.Accepted, sent)
	case len(said.Rejected) == 0 && *said.Accepted == sent:
		return acceptance{all: true}, nil
	case len(said.Rejected) == 0:
		return acceptance{taken: int(*said.Accepted)}, nil
	}
	var r acceptance
	seen := map[int64]bool{}
	var why []string
	left := sent
	for _, one := range said.Rejected {
		if one.Line < 1 || one.Line > int64(len(lines)) || seen[one.Line] {
			return acceptance{}, fmt.Errorf("%w: line %d rejected of %d sent", errNotOurs, one.Line, len(lines))
		}
		seen[one.Line] = true
		left -= int64(lines[one.Line-1])
		r.lines = append(r.lines, int(one.Line-1))
		if len(why) < 3 {
			why = append(why, one.Error)
		}
	}
	if *said.Accepted != left {
		return acceptance{}, fmt.Errorf("%w: %d samples accepted, but the lines not rejected hold %d", errNotOurs, *said.Accepted, left)
	}
	r.because = strings.Join(why, "; ")
	return r, nil
}

// A fault is a request that did not end in a delivery and blames no sample. Its
// text says nothing that changes from one try to the next, so that the log
// repeats only news.
type fault struct {
	outcome Outcome       // Later or Misconfigured
	status  int           // HTTP; 0: there was no answer
	wait    time.Duration // Retry-After, 0: none
	foreign bool          // something else than the server answered, as a captive portal does
	err     error
}

func (f *fault) Error() string {
	next := "the samples are kept and sent again"
	switch {
	case f.foreign:
		next = "the samples are kept and sent again; a network that asks to sign in answers so, or remote.url is wrong"
	case f.outcome == Misconfigured:
		next = "the samples are kept; check remote.url and the credentials"
	}
	return f.err.Error() + "; " + next
}

func (f *fault) Unwrap() error { return f.err }
