package ship

import (
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

func TestSkewIsBoundedByEveryAnswerAndNarrows(t *testing.T) {
	for _, truth := range []time.Duration{0, 7300 * time.Millisecond, -7300 * time.Millisecond, 40 * time.Hour, -400 * time.Millisecond} {
		rnd := rand.New(rand.NewPCG(1, 2))
		var c clock
		now := time.Now()
		for i := range 200 {
			now = now.Add(time.Duration(29+2*rnd.Float64()) * time.Second).Add(time.Duration(rnd.Int64N(1e9)))
			there := time.Duration(rnd.Int64N(200e6))
			back := time.Duration(rnd.Int64N(200e6))
			server := now.Add(there).Add(-truth)
			a := answer{begun: now, headerTook: there + back, header: http.Header{"Date": {server.UTC().Format(http.TimeFormat)}}}
			c.observe(a, "h")
			got, known := c.skew()
			if want := float64(truth) / 1e6; !known || math.Abs(got.Ms-want) > got.Error+1 {
				t.Fatalf("answer %d: %+v, want %v", i, got, want)
			}
			if i == 0 && got.Error > 750 {
				t.Errorf("one answer: %+v", got)
			}
		}
		if got, _ := c.skew(); got.Error > 300 {
			t.Errorf("after 200 answers: %+v", got)
		}
	}
}

func TestSkewFollowsTheServersStepAndIgnoresCachedAnswers(t *testing.T) {
	var c clock
	now := time.Now()
	date := func(at time.Time) http.Header { return http.Header{"Date": {at.UTC().Format(http.TimeFormat)}} }
	c.observe(answer{begun: now, header: date(now)}, "h")
	old := date(now.Add(-time.Hour))
	old.Set("Age", "3600")
	c.observe(answer{begun: now, header: old}, "h")
	c.observe(answer{begun: now, header: http.Header{"Date": {"yesterday"}}}, "h")
	c.observe(answer{begun: now}, "h")
	if got, _ := c.skew(); math.Abs(got.Ms) > 1000 {
		t.Errorf("%+v", got)
	}
	c.observe(answer{begun: now, header: date(now.Add(-10 * time.Second))}, "h")
	if got, _ := c.skew(); math.Abs(got.Ms-10_000) > 1000 {
		t.Errorf("after the server was set back: %+v", got)
	}
}

func TestSkewIsReportedWithTheHostWhenItExceedsTheLimit(t *testing.T) {
	for _, off := range []time.Duration{-10 * time.Second, 10 * time.Second, 0} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/health" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.Header().Set("Date", time.Now().Add(-off).UTC().Format(http.TimeFormat))
			w.Header().Set("X-Server-Hostname", "vm-7")
		}))
		b := newBench(t, server.URL+"/api/v1/import")
		for range 3 {
			if _, err := b.ship.CheckSkew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		server.Close()
		log := b.log.String()
		if n := strings.Count(log, "clock differ"); n != min(1, int(math.Abs(float64(off)))) {
			t.Errorf("off by %s: %d warnings", off, n)
		}
		if !strings.Contains(log, `"host":"vm-7"`) {
			t.Error("the host is not named")
		}
		all, err := b.db.Statuses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s := all[0]; s.Component != "skew" || !strings.Contains(s.Detail, `"host":"vm-7"`) || s.SuccessMs == 0 {
			t.Errorf("%+v", s)
		}
		own := b.ship.skewSample(5)
		if len(own) != 1 || math.Abs(own[0].Value-float64(off)/1e6) > 1000 {
			t.Errorf("%+v", own)
		}
		if _, err := b.ship.CheckSkew(t.Context()); err == nil {
			t.Error("a server that is gone is no error")
		}
	}
}

func TestTheUploadsProvideTheTimeWhenNothingElseDoes(t *testing.T) {
	b := newBench(t, newFaultServer(t, ok).url, func(c *config.Config) { c.Monitoring.ClockSkewURL = "http://127.0.0.2:1/health" })
	b.record(1, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ship.CheckSkew(t.Context()); err == nil {
		t.Fatal("somebody listens at 127.0.0.2:1")
	}
	all, err := b.db.Statuses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := all[len(all)-1]; s.Component != "skew" || !strings.Contains(s.Detail, `"host":"one"`) {
		t.Errorf("%+v", s)
	}
}

func TestAPageThatAnswersInsteadOfTheServerRejectsNoSample(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().AddDate(-10, 0, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<html><title>Sign in</title></html>"))
	}))
	defer server.Close()
	b := newBench(t, server.URL+"/api/v1/import")
	b.record(100, "a")
	for range 3 {
		if _, err := b.ship.CheckSkew(t.Context()); err == nil || !strings.Contains(err.Error(), "Sign in") {
			t.Errorf("the time of a page for signing in: %v", err)
		}
		if err := b.round(); err == nil {
			t.Error("a page for signing in took the samples")
		}
	}
	b.want(100, 0, 0)
	if own := b.ship.skewSample(5); len(own) > 0 {
		t.Errorf("a page told the time: %+v", own)
	}
}

func TestAnotherClockServerGetsNoToken(t *testing.T) {
	var seen atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Server-Hostname", "clock")
		seen.Store(r.Header.Get("Authorization"))
	}))
	defer other.Close()
	path := mustWrite(t, "token", secret, 0o600)
	b := newBench(t, newFaultServer(t, ok).url, func(c *config.Config) {
		c.Remote.TokenFile, c.Monitoring.ClockSkewURL = path, other.URL+"/health"
	})
	b.record(1, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ship.CheckSkew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := seen.Load(); got != "" {
		t.Errorf("sent %q", got)
	}
}

// A board without a clock of its own may wake years off, with samples of before.
func TestAWrongClockRejectsNoSample(t *testing.T) {
	for _, off := range []time.Duration{60 * 24 * time.Hour, -60 * 24 * time.Hour, 0} { // of the samples, by this clock
		there := false
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !there {
				w.WriteHeader(503)
				return
			}
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			w.Header().Set("X-Server-Hostname", "one")
			w.WriteHeader(204)
		}))
		b := newBench(t, server.URL+"/api/v1/import")
		b.last += off.Milliseconds()
		b.record(100, "a")
		for range 3 {
			if err := b.round(); err == nil {
				t.Error("503 was no error")
			}
			b.want(100, 0, 0)
		}
		there = true
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 100, 0)
		// What is too far off by the server's time is rejected now.
		b.last -= 50 * 24 * 3600_000
		b.record(1, "old")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(1, 100, 0)
		b.minutePasses()
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 100, 1)
		server.Close()
	}
}

// After 101 the connection is no longer net/http's, and no timeout of it holds.
func TestASwitchOfProtocolsEndsTheCheckOfTheClockInTime(t *testing.T) {
	for _, step := range []step{switches, switchesProperly, continues, hangsBeforeReading} {
		f := newFaultServer(t, step)
		b := newBench(t, f.url, func(c *config.Config) { c.Remote.Timeout = 500 * time.Millisecond })
		done := make(chan error, 1)
		go func() {
			_, err := b.ship.CheckSkew(t.Context())
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Error("no fault")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it hangs")
		}
		if _, err := b.ship.Verify(t.Context(), time.Hour, false, 0); err != nil {
			t.Error(err) // nothing was delivered, so nothing is queried
		}
	}
}

// Whatever net/http makes of an answer, its connection ends with the request.
func TestAConnectionEndsWithItsDeadline(t *testing.T) {
	f := newFaultServer(t, hangsBeforeReading)
	var l link
	conn, err := l.dial(&net.Dialer{})(t.Context(), "tcp", f.listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l.limit(time.Now().Add(50 * time.Millisecond))
	defer time.AfterFunc(10*time.Second, func() { conn.Close() }).Stop() // the read ends all the same
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
}
