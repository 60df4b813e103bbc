package ship

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// A simulation is a board and its server in virtual time: all of the shipper but
// the network, which is pipes.
type simulation struct {
	b    *bench
	mu   sync.Mutex
	down bool
	open map[net.Conn]bool
	kept map[string]int // samples, and how often each arrived
}

func newSimulation(t *testing.T) *simulation {
	s := &simulation{b: newBench(t, "http://server.example:8428/api/v1/import"), open: map[net.Conn]bool{}, kept: map[string]int{}}
	s.b.ship.first.until = time.Now().Add(firstRoundFor)
	s.b.ship.report.self = newSelfMetrics("metrics-shipper")
	s.b.ship.report.self.restore(nil)
	s.b.ship.client.transport.(*http.Transport).DialContext = s.dial
	s.b.ship.client.transport.(*http.Transport).Proxy = nil
	return s
}

func (s *simulation) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.b.ship.client.link
	if s.down {
		l.refused.Store(true)
		return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	ours, theirs := net.Pipe()
	s.open[theirs] = true
	go s.serve(theirs)
	l.dials.Add(1)
	l.closing.Store(false)
	c := &counted{Conn: ours, link: l}
	c.used.Store(time.Now().UnixNano())
	return c, nil
}

func (s *simulation) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		samples, _, err := readBody(r.Header, r.Body)
		if err != nil && r.ContentLength > 0 {
			return
		}
		s.mu.Lock()
		for _, one := range samples {
			s.kept[one.key]++
		}
		s.mu.Unlock()
		write(conn, "HTTP/1.1 204 No Content\r\nX-Server-Hostname: vm\r\nDate: "+time.Now().UTC().Format(http.TimeFormat)+"\r\n\r\n")
	}
}

// fall makes the server go away or come back.
func (s *simulation) fall(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	for conn := range s.open {
		conn.Close()
		delete(s.open, conn)
	}
}

// arrived returns how many samples the server has, and how many came again.
func (s *simulation) arrived() (samples, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.kept {
		samples, again = samples+1, again+n-1
	}
	return samples, again
}

// A recording is what a machine with 2 processors and 3 links collected in ten
// minutes, by the second of it: 187 samples a minute with eight collectors, 236
// with those of today, of which most of the new series have one sample a request.
// TimeMs is within the second.
type recording map[int64][]metric.Sample

const recorded = 10 * time.Minute

func playRecording(t *testing.T, of string) recording {
	t.Helper()
	file, err := os.Open("testdata/" + of)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := recording{}
	for lines := json.NewDecoder(file); lines.More(); {
		var line struct {
			Metric     map[string]string `json:"metric"`
			Values     []float64         `json:"values"`
			Timestamps []int64           `json:"timestamps"`
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		name := line.Metric["__name__"]
		var pairs []string
		for k, v := range line.Metric {
			if k != "__name__" {
				pairs = append(pairs, k, v)
			}
		}
		for i, at := range line.Timestamps {
			r[at/1000] = append(r[at/1000], metric.Sample{Name: name, Tags: metric.Tags(pairs...), TimeMs: at % 1000, Value: line.Values[i]})
		}
	}
	return r
}

// at returns the samples of one second; the recording begins again at its end.
func (r recording) at(now time.Time) []metric.Sample {
	all := slices.Clone(r[now.Unix()%int64(recorded.Seconds())])
	for i := range all {
		all[i].TimeMs += now.UnixMilli()
	}
	return all
}

// run lets the board collect and the shipper send for a while.
func (s *simulation) run(t *testing.T, r recording, d time.Duration) {
	t.Helper()
	end := time.Now().Add(d)
	for tick, round := time.Now().Truncate(time.Second).Add(time.Second), time.Now(); time.Now().Before(end); {
		if tick.Before(round) {
			time.Sleep(time.Until(tick))
			if samples := r.at(tick); len(samples) > 0 {
				if _, err := s.b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
					t.Fatal(err)
				}
			}
			tick = tick.Add(time.Second)
			continue
		}
		time.Sleep(time.Until(round))
		next, err := s.b.ship.Round(t.Context())
		if s.mu.Lock(); err != nil && !s.down && !strings.Contains(err.Error(), "refused") {
			t.Error(err)
		}
		s.mu.Unlock()
		round = time.Now().Add(max(next, time.Millisecond))
	}
}

// The limits are those that the daemons have to keep, headers included. They are
// bytes, so that no machine is too slow for them.
func TestTheBytesOnTheWireInSteadyStateAndAfterOutages(t *testing.T) {
	const (
		steadily     = 9.6 // bytes a sample
		afterMinutes = 8.0 // those of the backlog of a two-minute outage
		afterHours   = 3.5
		sentTwice    = 0.1 // of all samples, over two such outages
	)
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t)
		defer s.fall(true)
		r := playRecording(t, "board.jsonl")
		bytes := func() int64 { return s.b.ship.client.link.sent.Load() }
		s.run(t, r, 5*time.Minute)
		before, had := bytes(), len(s.kept)
		s.run(t, r, 20*time.Minute)
		samples, again := s.arrived()
		steady := float64(bytes()-before) / float64(samples-had)
		must(t, "wire, B a sample, steady, 187 samples a minute", steady, steadily)
		if again > 0 {
			t.Errorf("%d sent again", again)
		}
		s.run(t, r, 5*time.Minute)
		start := len(s.kept)
		for range 2 {
			s.fall(true)
			s.run(t, r, 2*time.Minute)
			before, had := bytes(), len(s.kept)
			s.fall(false)
			s.run(t, r, 45*time.Second)
			samples, _ = s.arrived()
			each := float64(bytes()-before) / float64(samples-had)
			must(t, "wire, B a sample, the backlog of two minutes", each, afterMinutes)
			s.run(t, r, 5*time.Minute)
		}
		samples, again = s.arrived()
		share := float64(again) / float64(samples-start)
		must(t, "sent twice, % of the samples of two outages", 100*share, 100*sentTwice)
		s.fall(true)
		for now := time.Now().Add(-3 * time.Hour).Truncate(time.Second); now.Before(time.Now()); now = now.Add(time.Second) {
			if samples := r.at(now); len(samples) > 0 {
				if _, err := s.b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: 2, Samples: samples}}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		before, had = bytes(), len(s.kept)
		s.fall(false)
		s.run(t, r, time.Minute)
		samples, _ = s.arrived()
		hours := float64(bytes()-before) / float64(samples-had)
		must(t, "wire, B a sample, the backlog of three hours", hours, afterHours)
		if samples-had < 20_000 {
			t.Errorf("%d samples", samples-had)
		}
		if err := s.b.db.Close(); err != nil {
			t.Error(err)
		}
		s.b.db = nil
		s.b.ship.client.transport.(*http.Transport).CloseIdleConnections()
	})
}

func TestTheCostOfMoreSeriesOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(t)
		r := playRecording(t, "board-3-links.jsonl")
		s.run(t, r, 5*time.Minute)
		before, had := s.b.ship.client.link.sent.Load(), len(s.kept)
		s.run(t, r, 20*time.Minute)
		samples, again := s.arrived()
		must(t, "wire, B a sample, steady, 236 samples a minute of more series", float64(s.b.ship.client.link.sent.Load()-before)/float64(samples-had), 10)
		if again > 0 || samples-had < 20*236 {
			t.Errorf("%d samples, %d sent again", samples-had, again)
		}
		s.fall(true)
		if err := s.b.db.Close(); err != nil {
			t.Error(err)
		}
		s.b.db = nil
		s.b.ship.client.transport.(*http.Transport).CloseIdleConnections()
	})
}
