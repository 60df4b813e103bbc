package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// A gateway stands before the server and counts what comes.
type gateway struct {
	url    string
	server *http.Server

	mu          sync.Mutex
	arrivals    []time.Time // of the requests
	connections int         // made so far
}

// newGateway passes requests on to the server of the given import URL.
func newGateway(ctx context.Context, to string) (*gateway, error) {
	target, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}}
	g := &gateway{url: "http://" + l.Addr().String() + target.Path}
	g.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			g.arrivals = append(g.arrivals, time.Now())
			g.mu.Unlock()
			proxy.ServeHTTP(w, r)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				g.mu.Lock()
				g.connections++
				g.mu.Unlock()
			}
		},
	}
	go g.server.Serve(l) //nolint:errcheck // it ends with Close
	return g, nil
}

func (g *gateway) close() error { return g.server.Close() }

// worst returns the most requests that arrived within any stretch of the given
// length, and how many came in all, from the given moment on.
func (g *gateway) worst(from time.Time, length time.Duration) (most, all int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := 0
	for i, at := range g.arrivals {
		if at.Before(from) {
			first = i + 1
			continue
		}
		all++
		for g.arrivals[first].Add(length).Before(at) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most, all
}

func (g *gateway) made() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.connections
}
