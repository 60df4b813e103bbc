package ship

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A link counts what goes over all connections to the server: headers, TLS and
// what a retry repeats. It also notices when the other side goes away without
// having said so.
type link struct {
	sent, received atomic.Int64 // bytes
	lost           atomic.Bool  // a connection was refused, or ended without a word
	closing        atomic.Bool  // the server said that it will close the connection
}

// idleClose is how long a connection must have been silent for its end to be no
// news: VictoriaMetrics closes idle connections after a minute, proxies sooner
// or later than that.
const idleClose = 50 * time.Second

// dial connects and counts.
func (l *link) dial(d *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			if errors.Is(err, syscall.ECONNREFUSED) {
				l.lost.Store(true)
			}
			return nil, err
		}
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
	if err != nil && !c.closed.Load() && !c.link.closing.Load() && time.Duration(now-c.used.Load()) < idleClose {
		if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, io.EOF) || ok && !timeout.Timeout() {
			c.link.lost.Store(true)
		}
	}
	return n, err
}

func (c *counted) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}
