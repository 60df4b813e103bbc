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

// An Outcome is the result of a request.
type Outcome int

// The outcomes. Only Delivered marks samples as delivered, and only Refused can
// lead to a rejected sample.
const (
	Delivered     Outcome = iota // the server accepted the chunk, or the part that its answer names
	Later                        // not accepted now; the same samples are sent again after a wait
	Misconfigured                // remote.url, the credentials or the network are wrong, not the samples
	Refused                      // the server will never accept this chunk as it is
)

func (o Outcome) String() string {
	return [...]string{"delivered", "later", "misconfigured", "refused"}[o]
}

// outcomeOf says what an HTTP status means for a chunk. VictoriaMetrics answers 400
// to a wrong path as well, so that Refused is only a suspicion: see isolate.
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

// errNotOurs marks an answer 2xx that does not come from a metrics server, such as
// the sign-in page of a captive portal.
var errNotOurs = errors.New("not the answer of a metrics server")

// An acceptance is what a 2xx answer says about a chunk.
type acceptance struct {
	silent  bool  // it has no body: everything was accepted, if a metrics server gave it
	all     bool  // everything was accepted
	first   int   // unless all or lines: the first so many samples were accepted
	lines   []int // 0-based lines that were rejected; all others were accepted
	because string
}

// An acceptanceReport is the body of a 2xx answer of metrics-receiver and other servers that
// say what they accepted.
type acceptanceReport struct {
	Accepted *int64 `json:"accepted"`
	Rejected []struct {
		Line  int64  `json:"line"`
		Error string `json:"error"`
	} `json:"rejected"`
}

// readAcceptance reads a 2xx answer to a chunk whose lines have the given numbers
// of samples. It is silent, as VictoriaMetrics' 204 is, or a JSON report:
//
//	{"accepted": 25}                                                the first 25 samples
//	{"accepted": 49, "rejected": [{"line": 7, "error": "too old"}]} all but line 7, counted from 1
//
// Anything else is an error, and so is a report that contradicts the chunk or
// itself: no part of it can be believed.
func readAcceptance(a answer, lines []int) (acceptance, error) {
	if a.empty && (a.status == http.StatusOK || a.status == http.StatusNoContent) {
		return acceptance{silent: true}, nil
	}
	report, err := decodeReport(a)
	if err != nil {
		return acceptance{}, err
	}
	sent := int64(0)
	for _, n := range lines {
		sent += int64(n)
	}
	switch {
	case report.Accepted == nil:
		return acceptance{}, fmt.Errorf("%w: JSON without the number of accepted samples", errNotOurs)
	case *report.Accepted < 0 || *report.Accepted > sent:
		return acceptance{}, fmt.Errorf("%w: %d samples accepted of %d sent", errNotOurs, *report.Accepted, sent)
	case len(report.Rejected) > 0:
		return report.rejectedLines(lines, sent)
	case *report.Accepted == sent:
		return acceptance{all: true}, nil
	}
	return acceptance{first: int(*report.Accepted)}, nil
}

func decodeReport(a answer) (report acceptanceReport, err error) {
	body := bytes.TrimSpace(a.body)
	switch {
	case a.empty || len(body) == 0 || body[0] != '{':
		return report, fmt.Errorf("%w: its body is not a report of accepted samples", errNotOurs)
	case a.cut:
		return report, fmt.Errorf("%w: JSON of more than %d bytes", errNotOurs, maxAnswerBytes)
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return report, fmt.Errorf("%w: JSON that cannot be read: %w", errNotOurs, err)
	}
	return report, nil
}

// rejectedLines returns the lines that the report names, which must hold all samples
// that were sent and not accepted.
func (r acceptanceReport) rejectedLines(lines []int, sent int64) (acceptance, error) {
	var a acceptance
	var why []string
	seen := map[int64]bool{}
	left := sent
	for _, one := range r.Rejected {
		if one.Line < 1 || one.Line > int64(len(lines)) || seen[one.Line] {
			return acceptance{}, fmt.Errorf("%w: line %d rejected of %d sent", errNotOurs, one.Line, len(lines))
		}
		seen[one.Line] = true
		left -= int64(lines[one.Line-1])
		a.lines = append(a.lines, int(one.Line-1))
		if len(why) < 3 {
			why = append(why, one.Error)
		}
	}
	if *r.Accepted != left {
		return acceptance{}, fmt.Errorf("%w: %d samples accepted, but the lines not rejected hold %d", errNotOurs,
			*r.Accepted, left)
	}
	a.because = strings.Join(why, "; ")
	return a, nil
}

// A fault is the error of a request that delivered nothing and for which no sample
// is to blame. Its text has nothing in it that changes from one try to the next, so
// that the log does not repeat it.
type fault struct {
	outcome Outcome       // Later or Misconfigured
	status  int           // HTTP; 0: there was no answer
	wait    time.Duration // Retry-After, 0: none
	foreign bool          // the answer was not a metrics server's, but a captive portal's, say
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
