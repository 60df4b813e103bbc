package health

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAFullListenerClosesIdleConnectionsForNewOnes(t *testing.T) {
	l := &limited{}
	var conns []*guarded
	var clients []net.Conn
	for range maxConns {
		server, client := net.Pipe()
		t.Cleanup(func() { client.Close() })
		g, _ := l.admit(server)
		conns, clients = append(conns, g), append(clients, client)
	}
	conns[0].busy.Store(true)
	server, client := net.Pipe()
	defer client.Close()
	if g, _ := l.admit(server); g == nil {
		t.Fatal("turned away")
	}
	if _, err := clients[1].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest that is not at work was kept: %v", err)
	}
	if len(l.conns) != maxConns || l.conns[0] != conns[0] {
		t.Errorf("%d connections", len(l.conns))
	}
	for _, c := range l.conns {
		c.busy.Store(true)
	}
	other, otherClient := net.Pipe()
	defer otherClient.Close()
	if g, _ := l.admit(other); g != nil {
		t.Error("let in although all are at work")
	}
	for _, c := range append(conns, l.conns...) {
		c.Close()
	}
	if len(l.conns) != 0 {
		t.Errorf("%d connections after all were closed", len(l.conns))
	}
}

func TestANewClientGetsAnAnswerAtOnceWhileAllConnectionsAreBusy(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: inner}
	accepted := make(chan net.Conn, maxConns)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*guarded).busy.Store(true)
			accepted <- c
		}
	}()
	defer inner.Close()
	for range maxConns {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer (<-accepted).Close()
	}
	// Nothing is asked: what the server has not read when it closes would cost
	// the answer.
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

// residentMB reads a memory figure of a process in MB: VmRSS, or VmHWM for the most ever.
func residentMB(t *testing.T, pid int, field string) float64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(data, []byte(field+":"))
	kb, err := strconv.Atoi(strings.Fields(string(after))[0])
	if err != nil {
		t.Fatal(err)
	}
	return float64(kb) / 1024
}

func TestTenThousandSlowClientsDoNotBlockOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("opens ten thousand connections")
	}
	b := newBoard(t)
	b.fill(t, day(time.Now(), 1)...)
	p := b.start(t, "metrics-health")
	addr, pid := p.listens(t), p.cmd.Process.Pid
	ask := func(path string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		// Whoever is turned away under siege asks again, as browsers and probes do.
		var last error
		for range 5 {
			res, err := http.DefaultClient.Do(req)
			if last = err; err != nil {
				continue
			}
			_, last = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if last == nil && (res.StatusCode == 200 || res.StatusCode == 503 && path == "/health") {
				return
			}
		}
		t.Errorf("%s: no answer: %v", path, last)
	}
	ask("/health")
	idle := residentMB(t, pid, "VmRSS")
	if idle > 15 {
		t.Errorf("%.1f MB after the first answer, want at most 15", idle)
	}

	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var open []net.Conn
			for n := range 1250 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					continue // the queue of the listener is full
				}
				open = append(open, c)
				switch (n + i) % 3 {
				case 0: // says nothing
				case 1: // never ends its headers
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
				case 2: // asks and never reads
					fmt.Fprint(c, strings.Repeat("GET /page/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 20))
				}
				if len(open) > 800 { // what one process may have open
					open[0].Close()
					open = open[1:]
				}
			}
			for _, c := range open {
				defer c.Close()
			}
			if i == 0 { // they are all still there
				ask("/health/live")
			}
		})
	}
	for range 10 {
		for _, path := range []string{"/health/live", "/health", "/", "/api/query?name=cpu.usage_percent&since=1h&step=10s"} {
			ask(path)
		}
	}
	wg.Wait()
	ask("/health/live")
	most := residentMB(t, pid, "VmHWM")
	t.Logf("%.1f MB idle, %.1f MB at most", idle, most)
	if most > 25 {
		t.Errorf("%.1f MB, want at most 25", most)
	}
}
