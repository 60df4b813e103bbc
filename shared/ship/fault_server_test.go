package ship

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A faultServer answers each request as the next step of its script says; the
// last step is repeated. What it takes it keeps.
type faultServer struct {
	t      *testing.T
	url    string
	listen net.Listener

	mu       sync.Mutex
	script   []step
	accepted int            // connections
	seen     int            // requests
	kept     map[string]int // samples, and how often each was kept
	other    int            // requests that were not for /api/v1/import, or no POST
}

// A step does with one request what it likes. The request's body is not read yet.
// It returns whether the connection can be used again.
type step func(f *faultServer, conn net.Conn, r *http.Request) (again bool)

func newFaultServer(t *testing.T, script ...step) *faultServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faultServer{t: t, url: "http://" + l.Addr().String() + "/api/v1/import", listen: l, script: script, kept: map[string]int{}}
	var wg sync.WaitGroup
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			open[conn] = true
			f.accepted++
			f.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if !f.next(r)(f, conn, r) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for conn := range open {
			conn.Close()
		}
		f.mu.Unlock()
		wg.Wait()
	})
	return f
}

func (f *faultServer) next(r *http.Request) step {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method != http.MethodPost || r.URL.Path != "/api/v1/import" {
		f.other++
	}
	s := f.script[min(f.seen, len(f.script)-1)]
	f.seen++
	return s
}

// keep reads the body and keeps its samples.
func (f *faultServer) keep(r *http.Request) (samples []arrived, lines []int) {
	samples, lines, err := readBody(r.Header, r.Body)
	if err != nil {
		f.t.Errorf("a body that cannot be read: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range samples {
		f.kept[s.key]++
	}
	return samples, lines
}

func (f *faultServer) state() (seen int, kept map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen, maps.Clone(f.kept)
}

func write(conn net.Conn, text string) { io.WriteString(conn, text) }

func answerText(status int, headers, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Length: %d\r\n%s\r\n%s", status, http.StatusText(status),
		time.Now().UTC().Format(http.TimeFormat), len(body), headers, body)
}

// ok keeps the samples and says so.
func ok(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 204 No Content\r\nDate: "+time.Now().UTC().Format(http.TimeFormat)+"\r\nX-Server-Hostname: one\r\n\r\n")
	return true
}

// says keeps nothing and answers.
func says(status int, headers, body string) step {
	return func(_ *faultServer, conn net.Conn, r *http.Request) bool {
		io.Copy(io.Discard, r.Body)
		write(conn, answerText(status, headers, body))
		return true
	}
}

// keepsAndSays keeps all samples, and answers something else than that.
func keepsAndSays(text string) step {
	return func(f *faultServer, conn net.Conn, r *http.Request) bool {
		f.keep(r)
		write(conn, text)
		return text != ""
	}
}

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

func hang(conn net.Conn) bool {
	io.Copy(io.Discard, conn) // until the other side gives up
	return false
}

// switches speaks another protocol from now on, and says nothing in it.
func switches(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	return hang(conn)
}

func switchesProperly(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
	return hang(conn)
}

// continues says that it is about to answer, for ever.
func continues(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	for {
		if _, err := conn.Write([]byte("HTTP/1.1 103 Early Hints\r\n\r\n")); err != nil {
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

func hangsBeforeReading(_ *faultServer, conn net.Conn, _ *http.Request) bool { return hang(conn) }

func hangsAfterReading(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	return hang(conn)
}

func resetsInTheBody(_ *faultServer, conn net.Conn, r *http.Request) bool {
	io.ReadFull(r.Body, make([]byte, 10))
	reset(conn)
	return false
}

func resetsBeforeAnswering(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	reset(conn)
	return false
}

func resetsInTheAnswer(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 204 No Con")
	time.Sleep(20 * time.Millisecond)
	reset(conn)
	return false
}

func answersSlowly(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	for _, c := range answerText(200, "", strings.Repeat("x", 100)) {
		if _, err := conn.Write([]byte{byte(c)}); err != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// noise is what endless answers are made of; one for all, as whoever counts the
// client's memory is in the same process.
var noise = bytes.Repeat([]byte("x"), 64<<10)

func endlessBody(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"accepted\":1,\"x\":\"")
	for {
		if _, err := conn.Write(noise); err != nil {
			return false
		}
	}
}

func endlessHeader(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, "HTTP/1.1 204 No Content\r\n")
	for {
		if _, err := (&net.Buffers{[]byte("X-Long: "), noise, []byte("\r\n")}).WriteTo(conn); err != nil {
			return false
		}
	}
}

// takesTheFirst keeps the first n samples and says so, in gzip if packed.
func takesTheFirst(n int, packed bool) step {
	return func(f *faultServer, conn net.Conn, r *http.Request) bool {
		samples, _, err := readBody(r.Header, r.Body)
		if err != nil {
			f.t.Error(err)
		}
		f.mu.Lock()
		for _, s := range samples[:min(n, len(samples))] {
			f.kept[s.key]++
		}
		f.mu.Unlock()
		body, headers := fmt.Sprintf(`{"accepted":%d}`, n), "Content-Type: application/json\r\n"
		if packed {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			io.WriteString(w, body)
			w.Close()
			body, headers = b.String(), headers+"Content-Encoding: gzip\r\n"
		}
		write(conn, answerText(200, headers, body))
		return true
	}
}
