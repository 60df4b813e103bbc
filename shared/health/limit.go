package health

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxConns bounds the connections: each costs about 20 KiB.
const maxConns = 64

// replaceTimeout bounds the wait for the end of a connection that was replaced.
const replaceTimeout = 50 * time.Millisecond

// busyAnswer is for a client that connects while every connection is in use.
const busyAnswer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// limited is a listener with at most maxConns connections. A further one replaces the
// oldest for which no answer is being made, so that clients that connect and send
// nothing, or read nothing, cannot block others: a client that sends its request at
// once is answered long before its connection is the oldest.
type limited struct {
	net.Listener
	mu    sync.Mutex
	conns []*guarded // oldest first
}

// guarded is a connection of a limited listener.
type guarded struct {
	net.Conn
	from  *limited
	busy  atomic.Bool // an answer is being made
	once  sync.Once
	ended chan struct{} // closed when the server is done with it
}

// Accept waits for the next connection for which there is room.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g, replaced := l.admit(c)
		if g != nil {
			if replaced != nil {
				// Its memory is free once its goroutine has ended: without the wait, connections
				// would be accepted faster than the replaced ones end.
				select {
				case <-replaced.ended:
				case <-time.After(replaceTimeout):
				}
			}
			return g, nil
		}
		// The answer fits into the buffer of a new socket, so this does not wait.
		if err := c.SetDeadline(time.Now().Add(100 * time.Millisecond)); err == nil {
			c.Write([]byte(busyAnswer)) //nolint:errcheck // the connection is closed in any case
		}
		c.Close()
	}
}

// admit adds a connection; g is nil if all others are in use. Replaced is the connection
// that was closed for it, or nil.
func (l *limited) admit(c net.Conn) (g, replaced *guarded) {
	g = &guarded{Conn: c, from: l, ended: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= maxConns {
		idle := slices.IndexFunc(l.conns, func(old *guarded) bool { return !old.busy.Load() })
		if idle < 0 {
			return nil, nil
		}
		replaced = l.conns[idle]
		l.conns = slices.Delete(l.conns, idle, idle+1)
		if tcp, ok := replaced.Conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) //nolint:errcheck // only saves the kernel some memory
		}
		replaced.Conn.Close()
	}
	l.conns = append(l.conns, g)
	return g, replaced
}

// Close closes the connection and frees its place.
func (g *guarded) Close() error {
	g.once.Do(func() {
		close(g.ended)
		g.from.mu.Lock()
		defer g.from.mu.Unlock()
		g.from.conns = slices.DeleteFunc(g.from.conns, func(other *guarded) bool { return other == g })
	})
	return g.Conn.Close()
}

type connKey struct{}

// withConn lets a handler find the connection it answers on.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// markBusy marks the connection of ctx as in use until the returned func is called.
func markBusy(ctx context.Context) (done func()) {
	g, ok := ctx.Value(connKey{}).(*guarded)
	if !ok {
		return func() {}
	}
	g.busy.Store(true)
	return func() { g.busy.Store(false) }
}
