package ship

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A link counts the bytes of all connections to the server, including headers, TLS and
// repeated requests. It also notices connections that the other side ends without an
// announcement.
type link struct {
	sent, received atomic.Int64 // bytes
	dials          atomic.Int64 // connections made; the reader resets it
	refused        atomic.Bool  // nothing listened at the address; the reader resets it
	ended          atomic.Bool  // a connection ended without an answer; the reader resets it
	closing        atomic.Bool  // the server announced that it closes the connection
	address        atomic.Value // string: of the other side of the last connection

	mu       sync.Mutex
	conn     net.Conn  // the last connection; there is one at a time
	deadline time.Time // of the request under way, zero: none is
}

// limit sets the time at which the connection ends; the zero time means never. It also
// works where no timeout of net/http does, such as after 101 Switching Protocols, which
// leaves the connection to the caller.
func (l *link) limit(deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = deadline
	if l.conn != nil {
		l.conn.SetDeadline(deadline) //nolint:errcheck // it fails on a connection that is closed
	}
}

// adopt makes a connection the one that limit is about.
func (l *link) adopt(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	conn.SetDeadline(l.deadline) //nolint:errcheck // it fails on a connection that is closed
}

// peer returns the address of the other side, "" before the first connection.
func (l *link) peer() string {
	address, _ := l.address.Load().(string)
	return address
}

// idleClose is how long a connection must have been idle for its end to be normal:
// VictoriaMetrics closes idle connections after a minute, proxies sooner or later.
const idleClose = 50 * time.Second

// dial connects and counts.
func (l *link) dial(d *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			if errors.Is(err, syscall.ECONNREFUSED) {
				l.refused.Store(true)
			}
			return nil, err
		}
		l.dials.Add(1)
		l.address.Store(conn.RemoteAddr().String())
		l.adopt(conn)
		l.closing.Store(false)
		c := &counted{Conn: conn, link: l}
		c.used.Store(time.Now().UnixNano())
		return c, nil
	}
}

type counted struct {
	net.Conn
	link   *link
	used   atomic.Int64 // Unix nanoseconds
	closed atomic.Bool
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.link.sent.Add(int64(n))
	c.used.Store(time.Now().UnixNano())
	return n, err
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.link.received.Add(int64(n))
	now := time.Now().UnixNano()
	if n > 0 {
		c.used.Store(now)
	}
	if err == nil || c.closed.Load() || c.link.closing.Load() || time.Duration(now-c.used.Load()) >= idleClose {
		return n, err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		c.link.ended.Store(true)
	}
	return n, err
}

func (c *counted) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
