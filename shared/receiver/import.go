package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Limits of one request. A shipper's chunk has at most 256 KiB of gzip and a few thousand
// samples, so a working shipper never comes near them.
const (
	MaxBodyBytes  = 8 << 20  // as sent
	MaxPlainBytes = 64 << 20 // after decompression
	MaxRatio      = 200      // plain to compressed, once past ratioFloor: 50:1 is honest telemetry, zeros are 1000:1
	MaxLineBytes  = 1 << 20
	MaxSamples    = 50_000
	MaxRejected   = 1000 // lines listed in an answer

	ratioFloor = 1 << 20
)

// Rejected is one line that was not accepted. Lines are numbered from 1.
type Rejected struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// Answer is the body of a 200: the number of accepted samples, and every rejected line.
// All samples of all other lines were accepted.
type Answer struct {
	Accepted int        `json:"accepted"`
	Rejected []Rejected `json:"rejected"`
}

// refusal is a request of which nothing was accepted.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// serveImport accepts a body of import lines, plain or gzip. A 200 has an Answer, also if
// every line was rejected. With any other status nothing of the body was accepted, and
// the body of the answer says why:
//
//	400  the body is incomplete, does not match its encoding, or has more than
//	     MaxRejected bad lines (a shorter list would report the others as
//	     accepted; send fewer lines at a time)
//	408  the body came too slowly
//	401  no token, or a wrong one
//	413  over one of the limits above
//	415  an encoding other than one layer of gzip
//	503  too many imports at a time; Retry-After says when to come back
func (r *Receiver) serveImport(w http.ResponseWriter, req *http.Request) {
	answer, err := r.accept(w, req)
	if err != nil {
		status := http.StatusInternalServerError
		if refused, ok := errors.AsType[*refusal](err); ok {
			status = refused.status
		}
		switch status {
		case http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
		case http.StatusUnsupportedMediaType:
			w.Header().Set("Accept-Encoding", "gzip") // RFC 9110 section 15.5.16
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "1")
		}
		r.table.countRequest()
		r.log.Warn("import rejected; none of its samples were accepted", "status", status, "error", err, "remote", req.RemoteAddr)
		http.Error(w, err.Error(), status)
		return
	}
	if n := len(answer.Rejected); n > 0 {
		r.log.Warn("lines rejected; the answer lists them", "rejected", n, "accepted", answer.Accepted,
			"first_line", answer.Rejected[0].Line, "first_error", answer.Rejected[0].Error, "remote", req.RemoteAddr)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic("BUG: an answer that is not JSON: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body) //nolint:errcheck // the sender is gone and will send again
}

// accept reads and checks the whole request before it counts any of its samples.
func (r *Receiver) accept(w http.ResponseWriter, req *http.Request) (*Answer, error) {
	if !r.authorized(req) {
		return nil, refuse(http.StatusUnauthorized, "the bearer token is missing or wrong")
	}
	compressed, err := encoding(req.Header.Values("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	body, done, err := r.readBody(w, req)
	defer done()
	if err != nil {
		return nil, err
	}
	turn := time.NewTimer(parseWait)
	defer turn.Stop()
	select {
	case r.parsing <- struct{}{}:
		defer func() { <-r.parsing }()
	case <-turn.C:
		return nil, refuse(http.StatusServiceUnavailable, "%d imports are being unpacked already", parallelParses)
	case <-req.Context().Done():
		return nil, refuse(http.StatusServiceUnavailable, "the sender went away")
	}
	b, err := parse(body, compressed, time.Now())
	if err != nil {
		return nil, err
	}
	r.table.add(b)
	r.print(b)
	return &Answer{Accepted: b.samples, Rejected: b.rejected}, nil
}

// readBody reads a body to its end. After bodyGrace it must arrive at bodyRate or faster,
// so that a slow sender occupies only a connection. Done frees the memory that the body
// counts for.
func (r *Receiver) readBody(w http.ResponseWriter, req *http.Request) (body []byte, done func(), err error) {
	control, begun, taken := http.NewResponseController(w), time.Now(), int64(0)
	done = func() { r.reading.Add(-taken) }
	from, part := http.MaxBytesReader(w, req.Body, MaxBodyBytes), make([]byte, 32<<10)
	for {
		due := begun.Add(bodyGrace + time.Duration(len(body))*time.Second/bodyRate)
		if err := control.SetReadDeadline(due); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil, done, err
		}
		n, err := from.Read(part)
		taken += int64(n)
		if r.reading.Add(int64(n)) > maxReading {
			return nil, done, refuse(http.StatusServiceUnavailable, "%d bytes of imports are being read already", maxReading)
		}
		body = append(body, part[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return body, done, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, done, refuse(http.StatusRequestTimeout, "%d bytes of the body came in %s; at least %d a second are wanted",
				len(body), time.Since(begun).Round(time.Second), bodyRate)
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, done, refuse(http.StatusRequestEntityTooLarge, "the body is over %d bytes", MaxBodyBytes)
		}
		if err != nil {
			return nil, done, refuse(http.StatusBadRequest, "read the body: %v", err)
		}
	}
}

// encoding reads the Content-Encoding fields: none, identity, or gzip once.
func encoding(fields []string) (compressed bool, err error) {
	switch value := strings.ToLower(strings.TrimSpace(strings.Join(fields, ","))); value {
	case "", "identity":
		return false, nil
	case "gzip":
		return true, nil
	default:
		return false, refuse(http.StatusUnsupportedMediaType,
			"Content-Encoding %.60q is not supported: send plain text or one layer of gzip", value)
	}
}
