package ship

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/store"
)

// modelServer keeps what it takes and knows what it said.
type modelServer struct {
	mode  byte
	host  string
	arg   int
	kept  map[string]float64 // every sample that ever arrived and was taken
	acked map[string]bool    // of which it said so, and was heard
	crash func()             // ends the process after the server took a chunk, before it is marked
}

// poisoned says which samples this server never takes.
func poisoned(key string) bool { return strings.HasPrefix(key, "bad@") && strings.HasSuffix(key, "0") }

func (m *modelServer) RoundTrip(r *http.Request) (*http.Response, error) {
	samples, lines, err := readBody(r.Header, r.Body)
	if err != nil {
		return nil, err
	}
	say := func(status int, body string) (*http.Response, error) {
		resp := respond(status, body)
		resp.Header.Set("X-Server-Hostname", m.host)
		return resp, nil
	}
	take := func(list []arrived, heard bool) {
		for _, s := range list {
			m.kept[s.key] = s.value
			m.acked[s.key] = m.acked[s.key] || heard
		}
	}
	for _, s := range samples {
		if poisoned(s.key) {
			return say(400, "poison")
		}
	}
	switch m.mode {
	case 1:
		return say(500, "")
	case 2:
		return say(404, "")
	case 3: // the first part
		n := m.arg % (len(samples) + 1)
		take(samples[:n], true)
		return say(200, fmt.Sprintf(`{"accepted":%d}`, n))
	case 4: // all lines but one
		line := m.arg % len(lines)
		accepted, said := 0, samples
		for i, n := range lines {
			if i != line {
				take(said[:n], true)
				accepted += n
			}
			said = said[n:]
		}
		return say(200, fmt.Sprintf(`{"accepted":%d,"rejected":[{"line":%d,"error":"not now"}]}`, accepted, line+1))
	case 5: // taken, and the answer is lost
		take(samples, false)
		return nil, errors.New("connection reset")
	case 6: // a lie
		take(samples, false)
		return say(200, fmt.Sprintf(`{"accepted":%d}`, len(samples)+1))
	case 7: // taken, and the process ends before it can mark
		take(samples, true)
		m.crash()
		return say(204, "")
	case 8: // part of the body arrived, then the answer breaks off
		take(samples[:len(samples)/2], false)
		resp := respond(200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"acc`), brokenReader{}))
		return resp, nil
	case 9:
		return say(400, "nothing passes here")
	case 10:
		return say(413, "")
	}
	take(samples, true)
	return say(204, "")
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// runQueue does what the bytes say, one operation for each two, and checks after
// each that the ledger balances and that no sample is marked that the server did not
// acknowledge. In the end the server is well, and everything must be there.
func runQueue(t *testing.T, ops []byte) {
	b := newBench(t, "http://server.example/api/v1/import", func(c *config.Config) {
		c.Remote.ChunkSize, c.Remote.BatchSize = 4, 16
	})
	m := &modelServer{host: "one", kept: map[string]float64{}, acked: map[string]bool{}}
	recorded := map[string]float64{}
	b.ship.client.transport = m
	crashed := false
	m.crash = func() {
		crashed = true
		b.db.Close()
	}
	reopen := func() {
		b.db.Close()
		b.open()
		b.ship.client.transport = m
		crashed = false
	}
	start := b.last
	check := func(what string) {
		t.Helper()
		pending, delivered, set := b.states()
		own := 0
		for k := range delivered {
			if !m.acked[k] {
				t.Fatalf("%s: %s is marked as delivered and was not acknowledged", what, k)
			}
		}
		for k := range set {
			if !poisoned(k) {
				t.Fatalf("%s: %s is rejected and was good", what, k)
			}
		}
		for _, states := range []map[string]bool{pending, delivered, set} {
			for k := range states {
				if strings.HasPrefix(k, "uploader_") || strings.HasPrefix(k, "storage_") {
					own++
				}
			}
		}
		if n := len(pending) + len(delivered) + len(set) - own; n != len(recorded) {
			t.Fatalf("%s: %d samples in the database, %d were stored", what, n, len(recorded))
		}
	}
	for i := 0; i+1 < len(ops) && i < 80; i += 2 {
		op, arg := ops[i]%16, int(ops[i+1])
		m.mode, m.arg = op, arg
		switch {
		case op >= 11 && op <= 13: // store samples: new, old, of some priority
			var samples []metric.Sample
			for j := range 1 + arg%7 {
				start++
				at := start
				if arg&8 != 0 {
					at -= 3600_000
				}
				name := []string{"a", "b", "bad"}[(arg+j)%3]
				samples = append(samples, metric.Sample{Name: name, TimeMs: at, Value: float64(at % 1000)})
				recorded[key(name, at)] = float64(at % 1000)
			}
			_, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: arg >> 6, Samples: samples}}})
			if err != nil {
				t.Fatal(err)
			}
		case op == 14:
			m.host = fmt.Sprint("host", arg%3)
		case op == 15 && arg%2 == 0:
			if _, err := b.db.Requeue(t.Context()); err != nil {
				t.Fatal(err)
			}
		case op == 15:
			reopen()
		default:
			b.round()
			if crashed {
				reopen()
			}
		}
		check(fmt.Sprintf("operation %d (%d, %d)", i/2, op, arg))
	}
	m.mode = 0
	for range 200 {
		if err := b.round(); err != nil {
			t.Fatalf("with the server well: %v", err)
		}
		if p, _, _ := b.states(); len(p) == 0 {
			break
		}
	}
	check("in the end")
	pending, _, set := b.states()
	if len(pending) != 0 {
		t.Errorf("%d samples still pending", len(pending))
	}
	for k, v := range recorded {
		if poisoned(k) {
			if !set[k] {
				t.Errorf("%s is poison and was not rejected", k)
			}
			continue
		}
		if got, ok := m.kept[k]; !ok || got != v {
			t.Errorf("the server has %v for %s (%v), want %v", got, k, ok, v)
		}
	}
	for k := range m.kept {
		if _, ok := recorded[k]; !ok && !strings.HasPrefix(k, "uploader_") && !strings.HasPrefix(k, "storage_") {
			t.Errorf("the server has %s, which was never stored", k)
		}
	}
}

func FuzzQueue(f *testing.F) {
	for mode := range byte(11) {
		f.Add([]byte{11, 5, 11, 9, 12, 200, mode, 3, 13, 70, mode, 1, 14, 1, 0, 0, mode, 2, 15, 1, mode, 5})
	}
	f.Add([]byte{11, 255, 7, 0, 7, 0, 15, 1, 11, 3, 4, 1, 3, 2, 15, 0, 14, 2, 0, 0, 5, 0, 15, 1, 14, 0})
	f.Fuzz(func(t *testing.T, ops []byte) { runQueue(t, ops) })
}

func TestQueueOverManyRandomSchedules(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	schedules := 15
	if testing.Short() {
		schedules = 4
	}
	for range schedules {
		ops := make([]byte, 60)
		for i := range ops {
			seed = seed*6364136223846793005 + 1442695040888963407
			ops[i] = byte(seed >> 56)
		}
		t.Run(fmt.Sprintf("%x", ops), func(t *testing.T) { runQueue(t, ops) })
	}
}
