package ship

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// Every fault of a server leaves all samples where they are, is said in the
// status, and is over once the server is well again.
func TestFaultsOfTheServerLoseNothingAndEndWithThem(t *testing.T) {
	const html = "<html><title>Sign in</title></html>"
	for _, c := range []struct {
		name    string
		step    step
		outcome string
		says    string        // in the error
		wait    time.Duration // at least, before the next try
	}{
		{"401", says(401, "", ""), "misconfigured", "HTTP 401", 4 * time.Minute},
		{"403", says(403, "", "forbidden"), "misconfigured", `HTTP 403: "forbidden"`, 4 * time.Minute},
		{"404", says(404, "", ""), "misconfigured", "HTTP 404", 4 * time.Minute},
		{"405", says(405, "", ""), "misconfigured", "HTTP 405", 4 * time.Minute},
		{"407", says(407, "", ""), "misconfigured", "HTTP 407", 4 * time.Minute},
		{"400 to everything", says(400, "", "unsupported path"), "misconfigured", `HTTP 400 to everything: "unsupported path"`, 4 * time.Minute},
		{"413 to everything", says(413, "", ""), "misconfigured", "HTTP 413 to everything", 4 * time.Minute},
		{"422 to everything", says(422, "", ""), "misconfigured", "HTTP 422 to everything", 4 * time.Minute},
		{"408", says(408, "", ""), "later", "HTTP 408", 4 * time.Second},
		{"425", says(425, "", ""), "later", "HTTP 425", 4 * time.Second},
		{"429", says(429, "", ""), "later", "HTTP 429", 4 * time.Second},
		{"429 with Retry-After", says(429, "Retry-After: 1234\r\n", ""), "later", "HTTP 429", 1233 * time.Second},
		{"429 with a short Retry-After", says(429, "Retry-After: 1\r\n", ""), "later", "HTTP 429", 3900 * time.Millisecond},
		{"503 with Retry-After of 10 years", says(503, "Retry-After: 315360000\r\n", ""), "later", "HTTP 503", 59 * time.Minute},
		{"503 with Retry-After that is garbage", says(503, "Retry-After: soon\r\n", ""), "later", "HTTP 503", 3900 * time.Millisecond},
		{"500", says(500, "", ""), "later", "HTTP 500", 3900 * time.Millisecond},
		{"101", switches, "later", "HTTP 101", 0},
		{"101 with an Upgrade", switchesProperly, "later", "HTTP 101", 0},
		{"100 again and again", continues, "later", "send to", 0},
		{"501", says(501, "", ""), "later", "HTTP 501", 0},
		{"502", says(502, "", html), "later", "HTTP 502", 0},
		{"504", says(504, "", ""), "later", "HTTP 504", 0},
		{"301", says(301, "Location: /elsewhere\r\n", ""), "misconfigured", "HTTP 301", 0},
		{"302", says(302, "Location: /elsewhere\r\n", ""), "misconfigured", "HTTP 302", 0},
		{"303", says(303, "Location: /elsewhere\r\n", ""), "misconfigured", "HTTP 303", 0},
		{"307", says(307, "Location: /elsewhere\r\n", ""), "misconfigured", "HTTP 307", 0},
		{"308", says(308, "Location: /elsewhere\r\n", ""), "misconfigured", "HTTP 308", 0},
		{"captive portal", says(200, "Content-Type: text/html\r\n", html), "misconfigured", "text/html", 0},
		{"accepted more than was sent", says(200, "", `{"accepted":999}`), "misconfigured", "999 samples accepted of", 0},
		{"accepted less than nothing", says(200, "", `{"accepted":-1}`), "misconfigured", "-1 samples accepted", 0},
		{"accepted nothing", says(200, "", `{"accepted":0}`), "later", "accepted none", 0},
		{"garbage JSON", says(200, "", `{"accepted":`), "misconfigured", "cannot be read", 0},
		{"a megabyte of JSON", says(200, "", `{"accepted":1,"x":"`+strings.Repeat("x", 1<<20)+`"}`), "misconfigured", "more than 65536 bytes", 0},
		{"rejected a line that was not sent", says(200, "", `{"accepted":30,"rejected":[{"line":9}]}`), "misconfigured", "line 9", 0},
		{"hangs before reading", hangsBeforeReading, "later", "no answer within", 0},
		{"hangs after reading", hangsAfterReading, "later", "no answer within", 0},
		{"resets in the body", resetsInTheBody, "later", "send to", 0},
		{"resets before answering", resetsBeforeAnswering, "later", "send to", 0},
		{"resets in the answer", resetsInTheAnswer, "later", "send to", 0},
		{"answers a byte at a time", answersSlowly, "later", "no answer within", 0},
		{"endless body", endlessBody, "misconfigured", "more than 65536 bytes", 0},
		{"endless header", endlessHeader, "later", "exceeded", 0},
		{"garbage", keepsAndSays("this is not HTTP\r\n\r\n"), "later", "malformed", 0},
		{"garbage status", keepsAndSays("HTTP/1.1 two hundred\r\n\r\n"), "later", "malformed", 0},
		{"closes without an answer", keepsAndSays(""), "later", "EOF", 0},
		{"too long a Content-Length", keepsAndSays("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"accepted\":3}"), "later", "broke off", 0},
		{"gzip that is none", keepsAndSays("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"), "misconfigured", "hello", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFaultServer(t, c.step)
			b := newBench(t, f.url, func(c *config.Config) { c.Remote.Timeout = 500 * time.Millisecond })
			b.record(10, "a", "b", "c")
			before := time.Now()
			err := b.round()
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
			if took := b.ship.pacing.notBefore.Sub(before); took < c.wait {
				t.Errorf("the next try is in %s, want at least %s", took, c.wait)
			}
			pending, delivered, set := b.states()
			for k := range delivered {
				if !strings.HasPrefix(k, "uploader_") {
					t.Errorf("%s is marked as delivered", k)
				}
			}
			if len(set) != 0 || len(pending) < 30 {
				t.Errorf("%d pending, %d rejected", len(pending), len(set))
			}
			st := b.status()
			if st.FailingSinceMs == 0 || !strings.Contains(st.Error, c.says) || !strings.Contains(st.Detail, fmt.Sprintf(`"outcome":%q`, c.outcome)) {
				t.Errorf("status %q %s", st.Error, st.Detail)
			}
			if has := strings.Contains(st.Detail, `"misconfigured":`); has != (c.outcome == "misconfigured") {
				t.Errorf("detail %s", st.Detail)
			}
			if f.other != 0 {
				t.Errorf("%d requests went elsewhere", f.other)
			}

			f.mu.Lock()
			f.script = []step{ok}
			f.mu.Unlock()
			if err := b.round(); err != nil {
				t.Fatalf("with the server well again: %v", err)
			}
			pending, delivered, _ = b.states()
			_, kept := f.state()
			if len(pending) != 0 {
				t.Errorf("%d still pending", len(pending))
			}
			for k := range delivered {
				if kept[k] == 0 {
					t.Errorf("%s is marked as delivered and was not kept", k)
				}
			}
			if st := b.status(); st.FailingSinceMs != 0 || strings.Contains(st.Detail, `"misconfigured":`) {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestAnswersKeepTheConnection(t *testing.T) {
	f := newFaultServer(t, ok, says(500, "", strings.Repeat("x", 1000)), says(429, "", "slow down"), says(200, "", "fine"), ok)
	b := newBench(t, f.url)
	for range 5 {
		b.record(1, "a")
		b.round()
	}
	b.want(0, 5, 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted != 1 {
		t.Errorf("%d connections for 5 requests", f.accepted)
	}
}

func TestPartOfAChunkIsMarkedAsTheAnswerSays(t *testing.T) {
	for _, packed := range []bool{false, true} {
		f := newFaultServer(t, takesTheFirst(25, packed), ok)
		b := newBench(t, f.url)
		b.record(25, "a", "b")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 50, 0)
		seen, kept := f.state()
		for k, n := range kept {
			if n != 1 {
				t.Errorf("%s was kept %d times", k, n)
			}
		}
		if seen != 2 || len(kept) != 50 {
			t.Errorf("packed %v: %d requests, %d samples", packed, seen, len(kept))
		}
		if n := b.ship.report.self.Tally.Value(partial); n != 1 {
			t.Errorf("partial successes %v", n)
		}
	}
	// Exactly those, before the rest goes.
	f := newFaultServer(t, takesTheFirst(25, false), says(500, "", ""))
	b := newBench(t, f.url)
	b.record(25, "a", "b")
	b.round()
	_, delivered, _ := b.states()
	_, kept := f.state()
	for k := range delivered {
		if kept[k] != 1 {
			t.Errorf("%s is marked and was not kept", k)
		}
	}
	b.want(25, 25, 0)
}

func TestMemoryStaysFlatOverEndlessAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer step
	}{{"body", endlessBody}, {"header", endlessHeader}, {"packed body", packedNoise}} {
		f := newFaultServer(t, c.answer)
		b := newBench(t, f.url, func(c *config.Config) { c.Remote.Timeout = time.Second })
		b.record(5, "a")
		b.round()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 20 {
			b.round()
		}
		runtime.ReadMemStats(&after)
		if grown := int64(after.TotalAlloc-before.TotalAlloc) / 20; grown > 2<<20 {
			t.Errorf("%s: %d bytes allocated for one answer", c.name, grown)
		}
		if rcvd := b.ship.client.link.received.Load(); rcvd > 21*4<<20 {
			t.Errorf("%s: %d bytes were read", c.name, rcvd)
		}
	}
}

// packedNoise is a few kilobytes that unpack to many megabytes.
func packedNoise(f *faultServer, conn net.Conn, r *http.Request) bool {
	f.keep(r)
	write(conn, answerText(200, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", packed()))
	return true
}

var packed = sync.OnceValue(func() string {
	var text bytes.Buffer
	w := gzip.NewWriter(&text)
	for range 500 {
		w.Write(noise)
	}
	w.Close()
	return text.String()
})

func TestDrainSendsAllOrFails(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) { c.Remote.BatchSize = 100 })
	b.record(700, "a")
	if n, err := b.ship.Drain(t.Context()); n != 700 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	b.want(0, 700, 0)

	f = newFaultServer(t, says(503, "", ""))
	b = newBench(t, f.url, func(c *config.Config) {
		c.Remote.Retry.InitialBackoff, c.Remote.Retry.MaxBackoff = time.Millisecond, time.Millisecond
	})
	b.record(5, "a")
	if n, err := b.ship.Drain(t.Context()); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
	if seen, _ := f.state(); seen != b.cfg.Remote.Retry.MaxAttempts {
		t.Errorf("%d requests", seen)
	}
	b.want(5, 0, 0)
}

func TestReceiptIsWrittenWithTheMarks(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	b.record(3, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	row, found, err := b.db.LastDelivered(t.Context())
	if err != nil || !found || row.TimeMs != b.last {
		t.Errorf("%+v %v %v", row, found, err)
	}
	s, err := b.db.Snapshot(t.Context())
	if err != nil || s.DeliveryMs == 0 {
		t.Errorf("%+v %v", s, err)
	}
}
