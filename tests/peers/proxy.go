package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A proxy leads to a server, counts bytes, and can be a server that is away:
// then nothing listens.
type proxy struct {
	addr, to string
	up, down atomic.Int64

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]bool
}

func newProxy(to string) (*proxy, error) {
	p := &proxy{addr: "127.0.0.1:0", to: to, conns: map[net.Conn]bool{}}
	return p, p.listen()
}

func (p *proxy) listen() error {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.addr, p.l = l.Addr().String(), l
	p.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return nil
}

// away closes the port and all connections.
func (p *proxy) away() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.l.Close()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) keep(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer s.Close()
	p.keep(c, true)
	defer p.keep(c, false)
	go func() {
		_, _ = io.Copy(c, counted{s, &p.down})
		_ = c.Close()
	}()
	_, _ = io.Copy(s, counted{c, &p.up})
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
