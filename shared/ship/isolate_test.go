package ship

import (
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/store"
	"github.com/taniwha3/thugshells/shared/store/storetest"
)

// refuses takes chunks without any of the bad samples, and answers status to
// others.
func refuses(status int, bad map[string]bool) step {
	return func(f *faultServer, conn net.Conn, r *http.Request) bool {
		samples, _, err := readBody(r.Header, r.Body)
		if err != nil {
			f.t.Error(err)
		}
		for _, s := range samples {
			if bad[s.key] {
				io.WriteString(conn, answerText(status, "", "cannot take "+s.key))
				return true
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range samples {
			f.kept[s.key]++
		}
		io.WriteString(conn, answerText(204, "X-Server-Hostname: one\r\n", ""))
		return true
	}
}

func TestBadSamplesAreFoundAndTheOthersAreDeliveredInTheSameRound(t *testing.T) {
	for _, status := range []int{400, 413, 422, 415} {
		for _, bad := range [][]int{{0}, {99}, {50}, {3, 4}, {0, 99}, {10, 40, 70, 90}} {
			t.Run(fmt.Sprint(status, bad), func(t *testing.T) {
				t.Parallel()
				set := map[string]bool{}
				f := newFaultServer(t, refuses(status, set))
				b := newBench(t, f.url, func(c *config.Config) { c.Remote.ChunkSize = 100 })
				b.record(50, "a", "b")
				rows, err := storetest.Newest(t.Context(), b.db, 200)
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range bad {
					set[key(rows[i].Series.Name, rows[i].TimeMs)] = true
				}
				if err := b.round(); err != nil {
					t.Fatal(err)
				}
				_, delivered, rejected := b.states()
				if len(rejected) != len(bad) {
					t.Errorf("rejected %v", rejected)
				}
				for k := range rejected {
					if !set[k] {
						t.Errorf("%s is rejected and was good", k)
					}
				}
				_, kept := f.state()
				for k := range delivered {
					if kept[k] == 0 {
						t.Errorf("%s is marked and was not kept", k)
					}
				}
				good := 0
				for k := range delivered {
					if k[1] == '@' {
						good++
					}
				}
				if good != 100-len(bad) {
					t.Errorf("%d delivered", good)
				}
				err = b.db.Rejections(t.Context(), func(r store.Rejection) error {
					if r.HTTPStatus != status || r.Words != "cannot take "+key(r.Series.Name, r.TimeMs) {
						t.Errorf("%+v", r)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n := b.ship.report.self.Tally.Value("storage.rejected_total"); n != float64(len(bad)) {
					t.Errorf("counted %v", n)
				}
			})
		}
	}
}

func TestLinesThatAnAnswerNamesAreIsolated(t *testing.T) {
	bad := ""
	f := newFaultServer(t, func(f *faultServer, conn net.Conn, r *http.Request) bool {
		samples, lines, err := readBody(r.Header, r.Body)
		if err != nil {
			f.t.Error(err)
		}
		var said []string
		accepted := len(samples)
		for i, n := range lines {
			refused := false
			for _, s := range samples[:n] {
				refused = refused || s.key == bad
			}
			if refused {
				said = append(said, fmt.Sprintf(`{"line":%d,"error":"no %s"}`, i+1, bad))
				accepted -= n
			}
			f.mu.Lock()
			for _, s := range samples[:n] {
				if !refused {
					f.kept[s.key]++
				}
			}
			f.mu.Unlock()
			samples = samples[n:]
		}
		io.WriteString(conn, answerText(200, "Content-Type: application/json\r\n", fmt.Sprintf(`{"accepted":%d,"rejected":[%s]}`, accepted, strings.Join(said, ","))))
		return true
	})
	b := newBench(t, f.url)
	b.record(10, "a", "b", "c")
	bad = key("b", b.last-3)
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 29, 1)
	if _, _, set := b.states(); !set[bad] {
		t.Errorf("rejected %v", set)
	}
	_, kept := f.state()
	if len(kept) != 29 {
		t.Errorf("%d kept", len(kept))
	}
}

// A server that turns bad in the middle of the search must not cost a sample.
func TestNoSampleIsRejectedForAServerThatStartsToFail(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		goesBad, goesWell := rnd.IntN(12), 12+rnd.IntN(12)
		set := map[string]bool{}
		n := 0
		isBad := func() bool { n++; return n > goesBad && n <= goesWell }
		poison := refuses(400, set)
		f := newFaultServer(t, func(f *faultServer, conn net.Conn, r *http.Request) bool {
			if isBad() {
				return says(400, "", "everything is wrong")(f, conn, r)
			}
			return poison(f, conn, r)
		})
		b := newBench(t, f.url)
		b.record(40, "a")
		set[key("a", b.last-7)], set[key("a", b.last-30)] = true, true
		for range 30 {
			b.round()
			if p, _, _ := b.states(); len(p) == 0 {
				break
			}
		}
		pending, _, rejected := b.states()
		for k := range rejected {
			if !set[k] {
				t.Errorf("seed %d: %s is rejected and was good", seed, k)
			}
		}
		if len(rejected) != 2 || len(pending) != 0 {
			t.Errorf("seed %d: %d rejected, %d pending", seed, len(rejected), len(pending))
		}
	}
}

func TestASampleIsRejectedOnlyIfOthersAreAcceptedBeforeBetweenAndAfter(t *testing.T) {
	for _, c := range []struct {
		name string
		good map[int]bool // requests, from the first refused one on, that are answered well
	}{
		{"not before", map[int]bool{}},
		{"not between", map[int]bool{2: true, 7: true, 8: true, 9: true}},
		{"not after", map[int]bool{2: true, 5: true}},
	} {
		n := 0
		f := newFaultServer(t, func(f *faultServer, conn net.Conn, r *http.Request) bool {
			if n++; n == 1 || c.good[n-1] {
				return ok(f, conn, r)
			}
			return says(400, "", "everything is wrong")(f, conn, r)
		})
		b := newBench(t, f.url)
		b.record(1, "a")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.record(2, "a")
		b.round()
		if _, _, rejected := b.states(); len(rejected) > 0 {
			t.Errorf("%s: %v rejected after %d requests", c.name, rejected, n)
		}
	}
}

// refusesSeries keeps chunks without any sample of the series, and refuses others.
func refusesSeries(name string) step {
	return func(f *faultServer, conn net.Conn, r *http.Request) bool {
		samples, _, err := readBody(r.Header, r.Body)
		if err != nil {
			f.t.Error(err)
		}
		for _, s := range samples {
			if strings.HasPrefix(s.key, name+"@") {
				io.WriteString(conn, answerText(400, "", "cannot take "+s.key))
				return true
			}
		}
		io.WriteString(conn, answerText(204, "X-Server-Hostname: one\r\n", ""))
		return true
	}
}

func TestASeriesThatIsAlwaysRefusedCostsFewRequests(t *testing.T) {
	f := newFaultServer(t, refusesSeries("bad"))
	b := newBench(t, f.url, func(c *config.Config) { c.Remote.ChunkSize = 200 })
	var requests []int
	for range 4 {
		before, _ := f.state()
		b.record(30, "a", "b", "c", "d")
		b.record(3, "bad")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		now, _ := f.state()
		requests = append(requests, now-before)
	}
	pending, _, rejected := b.states()
	if len(rejected) != 12 || len(pending) > 3 {
		t.Errorf("%d rejected, %d pending", len(rejected), len(pending))
	}
	if most := slices.Max(requests[1:]); most > 14 || requests[0] <= most {
		t.Errorf("%v requests in a round", requests)
	}
}

func TestAFloodOfBadSamplesIsBoundedInEachRound(t *testing.T) {
	set := map[string]bool{}
	f := newFaultServer(t, refuses(400, set))
	b := newBench(t, f.url, func(c *config.Config) { c.Remote.ChunkSize = 500 })
	b.record(200, "bad")
	rows, err := storetest.Newest(t.Context(), b.db, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		set[key("bad", r.TimeMs)] = true
	}
	days := 1
	for range 100 {
		before, _ := f.state()
		if err := b.round(); err != nil {
			if !strings.Contains(err.Error(), "bad ones are used up") {
				t.Fatal(err)
			}
			if spent := b.ship.search.budget.spent; spent > 1.3*searchBytes { // what was begun is ended
				t.Fatalf("%.0f bytes of a day's search", spent)
			}
			days++
			b.ship.search.budget.spent = 0 // the next day
		}
		after, _ := f.state()
		if after-before > 2*maxIsolation {
			t.Fatalf("%d requests in a round", after-before)
		}
		if p, _, _ := b.states(); len(p) == 0 {
			break
		}
	}
	if days < 2 {
		t.Error("200 bad samples were found in one day's bytes")
	}
	p, _, rejected := b.states()
	if len(p) != 0 || len(rejected) != 200 {
		t.Errorf("%d pending, %d rejected", len(p), len(rejected))
	}
}

func TestACanaryThatWasDeliveredBeforeIsNotCountedAgain(t *testing.T) {
	bad := map[string]bool{}
	f := newFaultServer(t, refuses(400, bad))
	b := newBench(t, f.url)
	b.record(10, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.record(20, "a")
	bad[key("a", b.last-3)] = true
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 29, 1)
	if n := b.ship.report.self.Tally.Value(uploaded); n != 29 {
		t.Errorf("counted %v deliveries, want 29", n)
	}
	if st := b.status(); st.Succeeded != 29 {
		t.Errorf("the status says %d deliveries, want 29", st.Succeeded)
	}
	raw, err := sql.Open("sqlite3", b.cfg.Storage.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var received int
	if err := raw.QueryRow("SELECT sum(metrics_count) FROM upload_checkpoints").Scan(&received); err != nil || received != 29 {
		t.Errorf("receipts for %d samples, want 29: %v", received, err)
	}
}

func TestOnlyMarkedRowsAreCountedAndNoCountDecreases(t *testing.T) {
	b := newBench(t, "http://server.example/api/v1/import")
	deliver := func(rows []store.Row) (marked int) {
		t.Helper()
		round := newRound(time.Time{})
		if err := b.ship.acknowledge(t.Context(), round, rows, 0); err != nil {
			t.Fatal(err)
		}
		return round.delivered
	}
	b.record(10, "a")
	rows, err := storetest.Newest(t.Context(), b.db, 10)
	if err != nil {
		t.Fatal(err)
	}
	if n := deliver(rows[:4]); n != 4 {
		t.Errorf("%d marked, want 4", n)
	}
	if n := deliver(rows[:6]); n != 2 { // four of them are not pending any more
		t.Errorf("%d marked, want 2", n)
	}
	before := b.ship.report.self.Tally.Value(uploaded)
	if n := deliver(rows[6:]); n != 4 {
		t.Errorf("%d marked, want 4", n)
	}
	after := b.ship.report.self.Tally.Value(uploaded)
	if after != 10 || after < before || b.status().Succeeded != 10 {
		t.Errorf("counted %v, then %v, and %d in the status; want 10", before, after, b.status().Succeeded)
	}
	b.db.Close()
	if err := b.ship.acknowledge(t.Context(), newRound(time.Time{}), rows, 0); err == nil || b.ship.report.self.Tally.Value(uploaded) != 10 {
		t.Errorf("%v; counted %v with nothing written", err, b.ship.report.self.Tally.Value(uploaded))
	}
}
