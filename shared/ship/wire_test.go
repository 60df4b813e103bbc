package ship

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// must prints a line of the table of make bench-check, and fails when a value is
// over what it must be.
func must(t *testing.T, what string, got, most float64) {
	t.Helper()
	verdict := "ok"
	if got > most {
		verdict = "OVER"
		t.Errorf("%s: %.2f, at most %g", what, got, most)
	}
	t.Logf("must: %s | %.2f | %g | %s", what, got, most, verdict)
}

// The limits are a little above what was measured, headers included.
func TestASampleCostsFewBytesOnTheWire(t *testing.T) {
	const (
		inRounds = 9.0 // bytes a sample, one request in 30 seconds
		draining = 3.5
	)
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	brd := &board{rand.New(rand.NewPCG(1, 1)), map[string]float64{}}
	at := time.Now().UnixMilli()/60_000*60_000 - 3600_000
	samples := 0
	for range 60 {
		var all []metric.Sample
		for range 3 {
			at += 10_000
			all = append(all, brd.tick(at)...)
		}
		n, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: all}}})
		if err != nil {
			t.Fatal(err)
		}
		samples += n
		b.ship.chunks.limit = 2500
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	seen, _ := f.state()
	if each := float64(b.ship.client.link.sent.Load()) / float64(samples); each > inRounds || seen != 60 {
		t.Errorf("%.2f bytes a sample in %d rounds, want at most %.1f in 60", each, seen, inRounds)
	}

	t.Logf("%.2f bytes a sample in rounds", float64(b.ship.client.link.sent.Load())/float64(samples))
	b = newBench(t, f.url)
	n := fill(t, b.db, 50_000)
	delivered, err := b.ship.Drain(t.Context())
	if err != nil || delivered != n {
		t.Fatalf("%d of %d: %v", delivered, n, err)
	}
	each := float64(b.ship.client.link.sent.Load()) / float64(n)
	must(t, "wire, B a sample, a drain of 50,000", each, draining)
}

// On a link with packets of their own for header and body, each costs 40 bytes more.
func TestASmallRequestLeavesInOneWrite(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	writes := 0
	transport := b.ship.client.transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &countedWrites{conn, &writes}, err
	}
	for range 3 {
		b.record(20, "a.b")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	if seen, _ := f.state(); seen != 3 || writes != 3 {
		t.Errorf("%d requests in %d writes, want 3 in 3", seen, writes)
	}
}

func TestARoundThatSentEverythingPendingLooksForNoMore(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	for _, c := range []struct {
		pending, limit int
		want           bool
	}{{20, 50, true}, {50, 50, false}, {60, 50, true}, {20, 50, true}} {
		b.record(c.pending, "a.b")
		b.ship.first.until, b.ship.chunks.limit = time.Time{}, c.limit
		r := newRound(time.Now().Add(time.Minute))
		if err := b.ship.sendAll(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if r.emptied != c.want || r.delivered != c.pending {
			t.Errorf("of %d pending with chunks of %d, %d were delivered, and the round says %v", c.pending, c.limit, r.delivered, r.emptied)
		}
	}
}

type countedWrites struct {
	net.Conn
	n *int
}

func (c *countedWrites) Write(p []byte) (int, error) {
	*c.n++
	return c.Conn.Write(p)
}
