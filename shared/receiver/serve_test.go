package receiver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener on no network, so that waiting for it takes no real time
// in a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// dial sends the start of a request and returns the connection.
func (p *pipes) dial(request string) net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	io.WriteString(client, request)
	return client
}

const unfinished = "POST /api/v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"

func TestStopCutsARequestThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- New(Options{Log: noLog}).Serve(ctx, p) }()
		conn := p.dial(unfinished)
		defer conn.Close()
		synctest.Wait()
		began := time.Now()
		stop()
		err := <-ended
		io.Copy(io.Discard, conn)
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "cut") || took < 3*time.Second || took > 5*time.Second {
			t.Errorf("stopped after %v: %v", took, err)
		}
	})
}

func TestStopLetsARequestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := newPipes()
		r := New(Options{Log: noLog})
		ended := make(chan error, 1)
		go func() { ended <- r.Serve(ctx, p) }()
		body := sample("up", 1, time.Now().UnixMilli())
		conn := p.dial(fmt.Sprintf("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:9]))
		synctest.Wait()
		stop()
		synctest.Wait()
		go io.WriteString(conn, body[9:])
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(answer), `{"accepted":1,"rejected":[]}`) {
			t.Errorf("%s %v", answer, err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestImportWaitsItsTurnAndIsThenPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := newPipes()
		ended := make(chan error, 1)
		r := New(Options{Log: noLog})
		go func() { ended <- r.Serve(ctx, p) }()
		for range parallelParses {
			r.parsing <- struct{}{}
		}
		conn := p.dial("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n123456789")
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "\r\nRetry-After: 1\r\n") {
			t.Errorf("%s %v", answer, err)
		}
		stop()
		<-ended
	})
}

// Senders whose bodies do not come keep no other out, and are sent away.
func TestSlowBodiesDoNotBlockOtherClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- New(Options{Log: noLog}).Serve(ctx, p) }()
		slow := make(chan string)
		for range 50 {
			conn := p.dial(strings.Replace(unfinished, "Content-Length", "Connection: close\r\nContent-Length", 1))
			defer conn.Close()
			go func() {
				answer, _ := io.ReadAll(conn)
				slow <- string(answer)
			}()
		}
		synctest.Wait()
		begun := time.Now()
		body := sample("up", 1, time.Now().UnixMilli())
		conn := p.dial(fmt.Sprintf("POST /api/v1/import HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || time.Since(begun) > time.Second {
			t.Errorf("beside slow senders after %s: %s %v", time.Since(begun), answer, err)
		}
		for range 50 {
			if answer := <-slow; !strings.HasPrefix(answer, "HTTP/1.1 408 ") {
				t.Errorf("a slow sender got %q", answer)
			}
		}
		if took := time.Since(begun); took > 2*bodyGrace {
			t.Errorf("they were sent away after %s", took)
		}
		stop()
		<-ended
	})
}

// What is being read is bounded, whatever the senders promise.
func TestTheBytesReadAtATimeAreBounded(t *testing.T) {
	r := New(Options{Log: noLog})
	r.reading.Store(maxReading)
	body := sample("up", 1, time.Now().UnixMilli())
	req := httptest.NewRequest("POST", "/api/v1/import", strings.NewReader(body))
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	if w.Code != 503 {
		t.Errorf("HTTP %d", w.Code)
	}
	if got := r.reading.Load(); got != maxReading {
		t.Errorf("%d bytes are counted as being read, %d before", got, int64(maxReading))
	}
}
