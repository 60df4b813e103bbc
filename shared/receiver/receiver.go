// Package receiver is a small replacement for VictoriaMetrics, for trials without
// a server. It accepts the same import lines, but strictly: where
// VictoriaMetrics answers 204 and drops a bad line in silence, the answer here
// says how many samples were accepted, and which lines were rejected and why.
//
// The one rule here: a request counts whole or not at all. Its body is checked
// to the last byte before anything of it is remembered. Only the newest value
// of each series is remembered, in memory.
//
// New, then Serve on a listener.
package receiver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the settings of a Receiver.
type Options struct {
	Token   string       // bearer token that imports must have; empty: none
	Verbose io.Writer    // gets each accepted sample as one line; nil: none
	Log     *slog.Logger // gets one line per import with refused lines or a refused body
}

// nameHeader is the field in which VictoriaMetrics names itself in each answer. Over
// plain http metrics-shipper accepts answers that have it.
const nameHeader = "X-Server-Hostname"

// A Receiver accepts import requests and remembers the newest value of each series.
type Receiver struct {
	log     *slog.Logger
	name    string             // of this machine
	token   *[sha256.Size]byte // nil: none is needed
	table   *table
	parsing chan struct{} // one for each body that may be unpacked at a time
	reading atomic.Int64  // bytes of the bodies that are being read

	verboseMu sync.Mutex
	verbose   io.Writer
}

// Limits of reading: how many bodies are unpacked at a time, and how long another one
// waits for its turn. Any number of bodies may be read at the same time, while together
// they stay below maxReading and each arrives in time: see readBody.
const (
	parallelParses = 4
	parseWait      = 5 * time.Second
	maxReading     = 64 << 20
	bodyGrace      = 5 * time.Second
	bodyRate       = 4 << 10 // bytes a second after that
)

// New returns a Receiver without samples.
func New(o Options) *Receiver {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "metrics-receiver"
	}
	r := &Receiver{
		log:     o.Log,
		name:    name,
		table:   newTable(time.Now()),
		parsing: make(chan struct{}, parallelParses),
		verbose: o.Verbose,
	}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(o.Token))
		r.token = &sum
	}
	return r
}

// Handler returns the routes:
//
//	POST /api/v1/import  accepts samples; see serveImport
//	GET  /               a summary, as text
//	GET  /health         OK, with the Date by which clocks are compared
//	GET  /metrics        counters, in Prometheus' text format
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/import", r.serveImport)
	mux.HandleFunc("GET /{$}", r.serveSummary)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answerText(w, "OK") })
	mux.HandleFunc("GET /metrics", r.serveMetrics)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set(nameHeader, r.name)
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, req)
	})
}

// Serve answers requests on l until ctx ends. Requests that are still open then have
// stopWait to finish.
func (r *Receiver) Serve(ctx context.Context, l net.Listener) error {
	const stopWait = 4 * time.Second
	server := &http.Server{
		Handler:           r.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(fmt.Errorf("stop: requests still open after %v are cut: %w", stopWait, err), server.Close())
	}
	return nil
}

// authorized says whether req has the token. Its timing does not depend on how much of a
// wrong token is right.
func (r *Receiver) authorized(req *http.Request) bool {
	if r.token == nil {
		return true
	}
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], r.token[:]) == 1
}

func answerText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// An error means that the client is gone, which needs no log line.
	io.WriteString(w, text) //nolint:errcheck // see above
}
