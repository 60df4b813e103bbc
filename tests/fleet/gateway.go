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

// An arrival is a request, of the board that has this connection.
type arrival struct {
	at    time.Time
	board string
}

// A gateway is a proxy before the server that counts requests and samples.
type gateway struct {
	url    string
	server *http.Server

	mu          sync.Mutex
	arrivals    []arrival
	connections int // made so far
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
			g.arrivals = append(g.arrivals, arrival{time.Now(), r.RemoteAddr})
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

// worst returns the most rounds that began within a stretch of time of the given
// length, and how many requests came in all, from the given moment on. A round is
// what a board sends within half an interval: the newest samples, and those about
// its shipper in a request of their own.
func (g *gateway) worst(from time.Time, length, interval time.Duration) (most, requests int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var begun []time.Time
	last := map[string]time.Time{}
	for _, a := range g.arrivals {
		if a.at.Before(from) {
			continue
		}
		requests++
		if a.at.Sub(last[a.board]) < interval/2 {
			continue
		}
		last[a.board] = a.at
		begun = append(begun, a.at)
	}
	first := 0
	for i, at := range begun {
		for begun[first].Add(length).Before(at) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most, requests
}

func (g *gateway) made() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.connections
}
