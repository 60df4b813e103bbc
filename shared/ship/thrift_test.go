package ship

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// A stingyServer takes little of each request.
type stingyServer struct {
	most  int  // samples of a request that it accepts
	alone bool // it answers 400 to more than one sample
	taken int
}

func (s *stingyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	samples, _, err := readBody(r.Header, r.Body)
	if err != nil || s.alone && len(samples) > 1 {
		w.WriteHeader(400)
		return
	}
	n := min(len(samples), s.most)
	s.taken += n
	fmt.Fprintf(w, `{"accepted":%d}`, n)
}

// An hour of a server that takes little costs few bytes, and health has a reason.
func TestAServerThatAcceptsLittleCostsFewBytes(t *testing.T) {
	for name, s := range map[string]*stingyServer{
		"one sample": {most: 1}, "ten samples": {most: 10}, "20 samples": {most: 20}, "400 to all but single samples": {most: 1000, alone: true},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && (s.most == 10 || s.most == 20) {
				t.Skip("between the other cases")
			}
			server := httptest.NewServer(s)
			defer server.Close()
			b := newBench(t, server.URL+"/api/v1/import")
			b.record(20_000, "a")
			begun, passed, tries := time.Now(), time.Duration(0), 0
			for passed < time.Hour && tries < 10_000 {
				tries++
				b.record(1, "a")
				err := b.round()
				wait := b.cfg.Remote.UploadInterval
				if err != nil {
					wait = time.Until(b.ship.pacing.notBefore)
				}
				passed += wait
			}
			bytes := b.ship.client.link.sent.Load()
			t.Logf("%d bytes in an hour, %d samples taken, %d rounds, in %s", bytes, s.taken, tries, time.Since(begun))
			if bytes > 300_000 {
				t.Errorf("%d bytes in an hour", bytes)
			}
			if s.taken == 0 {
				t.Error("nothing was delivered")
			}
			if d := b.status().Detail; !strings.Contains(d, `"little_taken":"`) {
				t.Errorf("the status row says %s", d)
			}
			// The server is well again.
			s.most, s.alone = 1<<30, false
			for range 3 {
				if err := b.round(); err != nil {
					t.Fatal(err)
				}
			}
			if p, _, set := b.states(); len(p) != 0 || len(set) != 0 {
				t.Errorf("%d pending, %d rejected", len(p), len(set))
			}
			if b.ship.report.detail.LittleTaken != "" || b.ship.pacing.failed != 0 {
				t.Errorf("%+v, failed %d", b.ship.report.detail, b.ship.pacing.failed)
			}
		})
	}
}

// Chunks follow what was accepted.
func TestAChunkIsAsLargeAsWhatWasAcceptedOfTheOneBefore(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) { c.Remote.ChunkSize = 100 })
	b.record(1000, "a")
	var sizes []int
	b.ship.client.transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		samples, _, err := readBody(r.Header, r.Body)
		sizes = append(sizes, len(samples))
		return respond(200, fmt.Sprintf(`{"accepted":%d}`, min(len(samples), 60))), err
	})
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(sizes[:5]); got != "[100 60 120 60 120]" && got != "[100 60 120 60 60]" {
		t.Errorf("%s", got)
	}
	b.want(0, 1000, 0)
}

// The bytes of a day's search are remembered by the next process.
func TestTheSearchBudgetOutlivesTheProcess(t *testing.T) {
	var b searchBudget
	b.charge(20000, 5_000_000, false)
	b.charge(20001, 700, false)
	b.charge(20001, 99_000, true)
	if b.isSpent() {
		t.Error("spent with a tenth of five megabytes")
	}
	b.charge(20001, 401_000, true)
	var next searchBudget
	next.restore(b.counts())
	if next != b || !next.isSpent() {
		t.Errorf("%+v became %+v", b, next)
	}
	if next.charge(20002, 1, true); next.isSpent() {
		t.Error("a new day has no bytes")
	}
}
