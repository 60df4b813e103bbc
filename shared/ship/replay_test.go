package ship

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// named keeps the samples and answers as the host of that name.
func named(host string) step {
	return func(f *faultServer, conn net.Conn, r *http.Request) bool {
		f.keep(r)
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\nX-Server-Hostname: "+host+"\r\n\r\n")
		return true
	}
}

func TestSamplesThatARestartedServerMayHaveLostAreSentAgain(t *testing.T) {
	vanishes := func(f *faultServer, conn net.Conn, r *http.Request) bool {
		named("one")(f, conn, r)
		return false // and the connection ends without a word
	}
	for _, c := range []struct {
		name  string
		steps []step
		anew  string // the boot in which the shipper starts again before the third
		again int
	}{
		{"nothing happened", []step{named("one"), named("one"), named("one")}, "", 0},
		{"another host", []step{named("one"), named("one"), named("two")}, "", 20},
		{"connection ended", []step{named("one"), vanishes, named("one")}, "", 20},
		{"the server said that it closes", []step{named("one"), func(f *faultServer, conn net.Conn, r *http.Request) bool {
			f.keep(r)
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\nX-Server-Hostname: one\r\nConnection: close\r\n\r\n")
			return false
		}, named("one")}, "", 0},
		{"the shipper starts anew", []step{named("one")}, "boot", 0},
		{"the shipper starts anew after a power cut, perhaps with the server", []step{named("one")}, "another boot", 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFaultServer(t, c.steps...)
			b := newBench(t, f.url)
			for i := range 4 {
				if c.anew != "" && i == 2 {
					b.db.Close()
					b.boot = c.anew
					b.open()
				}
				for until := time.Now().Add(5 * time.Second); i == 2 && c.name == "connection ended" && !b.ship.client.link.ended.Load() && time.Now().Before(until); {
					time.Sleep(time.Millisecond)
				}
				b.record(10, "a")
				if err := b.round(); err != nil {
					t.Fatal(err)
				}
			}
			_, kept := f.state()
			twice := 0
			for _, n := range kept {
				twice += n - 1
			}
			if twice != c.again {
				t.Errorf("%d samples were sent again, want %d", twice, c.again)
			}
			b.want(0, 40, 0)
		})
	}
}

// Whoever saw that the server does not answer may be killed before it answers again.
func TestAServerThatDidNotAnswerTheRunBeforeMayHaveRestarted(t *testing.T) {
	f := newFaultServer(t, named("one"), says(502, "", ""), named("one"))
	b := newBench(t, f.url)
	for range 2 {
		b.record(10, "a")
		b.round()
	}
	b.db.Close()
	b.open()
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	again := 0
	_, kept := f.state()
	for _, n := range kept {
		again += n - 1
	}
	if again != 10 {
		t.Errorf("%d samples were sent again, want the 10 of the first round", again)
	}
	b.want(0, 20, 0)
}

func TestRefusedConnectionInBetweenCountsAsARestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		script []step
		refuse func(*bench)
		sent   int
	}{
		{"refused here", []step{named("one")}, func(b *bench) { b.ship.client.link.refused.Store(true) }, 2},
		{"refused to a proxy", []step{named("one"), says(502, "", ""), named("one")}, func(b *bench) { b.round() }, 2},
		{"unavailable to a proxy", []step{named("one"), says(503, "", ""), named("one")}, func(b *bench) { b.round() }, 2},
		{"too late for a proxy", []step{named("one"), says(504, "", ""), named("one")}, func(b *bench) { b.round() }, 2},
		{"a fault of its own", []step{named("one"), says(500, "", ""), named("one")}, func(b *bench) { b.round() }, 1},
		{"asks for less", []step{named("one"), says(429, "", ""), named("one")}, func(b *bench) { b.round() }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFaultServer(t, c.script...)
			b := newBench(t, f.url)
			b.record(10, "a")
			b.round()
			b.record(1, "a")
			c.refuse(b)
			b.round()
			_, kept := f.state()
			if n := kept[key("a", b.last-1)]; n != c.sent {
				t.Errorf("sent %d times", n)
			}
			if strings.Contains(b.log.String(), "may have restarted") != (c.sent > 1) {
				t.Error("not said, or said for nothing")
			}
		})
	}
}

func TestAnotherClockServerIsNoSignOfARestart(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) { c.Monitoring.ClockSkewURL = "http://127.0.0.2:1/health" }) // nothing listens
	waits := []time.Duration{}
	for range 6 {
		b.record(10, "a")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		next, err := b.ship.CheckSkew(t.Context())
		if err == nil || !strings.Contains(err.Error(), "127.0.0.2") {
			t.Fatalf("asked for the time: %v", err)
		}
		waits = append(waits, next)
	}
	if want := []time.Duration{30e9, 60e9, 120e9, 240e9, 300e9, 300e9}; !slices.Equal(waits, want) {
		t.Errorf("asks again after %v, want %v", waits, want)
	}
	_, kept := f.state()
	for k, n := range kept {
		if n != 1 {
			t.Errorf("%s was sent %d times", k, n)
		}
	}
	b.want(0, 60, 0)
}

func TestSignsOfARestartInARowDoNotSendAllOfItEachTime(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	const rounds = 20
	var unsettled map[string]int // acknowledged before the last restart
	for range rounds {
		_, unsettled = f.state()
		b.record(10, "a")
		b.ship.client.link.refused.Store(true)
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	most := func() (most int) {
		_, kept := f.state()
		for _, n := range kept {
			most = max(most, n)
		}
		return most
	}
	if n := most(); n < 2 || n > ignoreAfter+1 {
		t.Errorf("a sample was sent %d times in %d rounds", n, rounds)
	}
	b.want(0, 10*rounds, 0)

	// What every restart may have cost goes again once the server stays up.
	signs := &b.ship.replay.restarts
	for _, c := range []struct {
		up    time.Duration
		again bool
	}{{config.Unsettled - time.Second, false}, {config.Unsettled, true}} {
		signs.lastSign = time.Now().Add(-c.up)
		_, before := f.state()
		b.record(10, "a")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		_, after := f.state()
		for k := range unsettled {
			if again := after[k] > before[k]; again != c.again {
				t.Fatalf("%s after the last restart, %s went again: %t", c.up, k, again)
			}
		}
	}
	if n := most(); n > ignoreAfter+2 {
		t.Errorf("a sample was sent %d times", n)
	}
}

func TestTheWaitGrowsWithTheSignsInARow(t *testing.T) {
	start := time.Now()
	for signs, want := range map[int]time.Duration{1: 0, ignoreAfter: 0, ignoreAfter + 1: 25 * time.Second, ignoreAfter + 2: 50 * time.Second, ignoreAfter + 3: 100 * time.Second, 99: config.Unsettled} {
		r := restarts{consecutive: signs, lastSign: start}
		if want > 0 && r.calm(start.Add(want-1)) || !r.calm(start.Add(want)) {
			t.Errorf("after %d signs it does not wait %s", signs, want)
		}
	}
	var r restarts
	for range 99 {
		r.sign(start)
	}
	r.sign(start.Add(config.Unsettled + 1))
	if r.consecutive != 1 {
		t.Errorf("%d signs in a row", r.consecutive)
	}
}

func TestSamplesOfAnEarlierRunAreSentAgainOnceAndThenWait(t *testing.T) {
	var s replay
	s.resume(status.Settling{Again: []status.Span{{AckedMs: 1, FromMs: 1, ToMs: 2}}})
	now := time.Now()
	if !s.restarts.calm(now) {
		t.Error("it waits without a sign")
	}
	s.afterRestart()
	if s.restarts.calm(now) || !s.restarts.calm(now.Add(time.Minute)) {
		t.Error("after a sign it does not wait, or waits for too long")
	}
	s = replay{}
	s.resume(status.Settling{})
	s.afterRestart()
	if !s.restarts.calm(now) {
		t.Error("the first sign waits")
	}
}

// A server that is killed, gets the samples again and is killed again, and so on: what
// it got last is always sent again after the next kill.
func TestSamplesSentAgainAreRememberedLikeOthers(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url)
	b.record(10, "a")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	_, first := f.state()
	const up = 110 * time.Second // long enough for it to get them again, and another sign is in a row
	for kill := range ignoreAfter + 3 {
		_, before := f.state()
		b.ship.client.link.refused.Store(true)
		b.record(1, "b")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.ship.replay.restarts.lastSign = time.Now().Add(-up)
		b.record(1, "b")
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		_, after := f.state()
		for k := range first {
			if after[k] <= before[k] {
				t.Fatalf("kill %d: %s was not sent again", kill, k)
			}
		}
	}
}

func TestAServerThatAlwaysEndsConnectionsIsNotConsideredRestartedForEver(t *testing.T) {
	f := newFaultServer(t, func(f *faultServer, conn net.Conn, r *http.Request) bool {
		named("one")(f, conn, r)
		return false
	})
	b := newBench(t, f.url)
	for range 20 {
		b.record(1, "a")
		for p := 1; p > 0; { // a connection may end just as it is used
			b.round()
			pending, _, _ := b.states()
			p = len(pending)
		}
	}
	_, kept := f.state()
	sent := 0
	for _, n := range kept {
		sent += n
	}
	if sent > 20+2*ignoreAfter*20 {
		t.Errorf("%d samples sent for 20", sent)
	}
}

func TestAnOverloadedServerIsNotConsideredRestartedForEver(t *testing.T) {
	requests := 0
	f := newFaultServer(t, func(f *faultServer, conn net.Conn, r *http.Request) bool {
		if requests++; requests%3 == 2 {
			return says(503, "", "")(f, conn, r)
		}
		return named("one")(f, conn, r)
	})
	b := newBench(t, f.url)
	for range 30 {
		b.record(1, "a")
		b.round()
		b.round()
	}
	_, kept := f.state()
	for k, n := range kept {
		if n > ignoreAfter+1 {
			t.Errorf("%s was sent %d times", k, n)
		}
	}
	b.want(0, 30, 0)

	var s restarts
	start := time.Now()
	at := func(after time.Duration) bool {
		s.away = true
		return s.wasAway(start.Add(after))
	}
	for after := time.Duration(0); after < awayFor; after += config.Unsettled {
		if !at(after) || s.wasAway(start.Add(after)) {
			t.Fatalf("%s after the first it is no sign, or two", after)
		}
	}
	if at(awayFor) {
		t.Error("an hour later it still is a sign")
	}
	if !at(awayFor + config.Unsettled + 1) {
		t.Error("after a pause it is not a sign again")
	}
}

func TestOnlyTheLastSecondsAreUnsettled(t *testing.T) {
	var s replay
	row := func(at int64, priority int) store.Row { return store.Row{TimeMs: at, Priority: priority} }
	start := time.UnixMilli(1_000_000_000)
	for i := range 100 {
		s.remember(start.Add(time.Duration(i)*30*time.Second), []store.Row{row(int64(i), 2), row(int64(i)+1, 2), row(int64(i), 3)})
	}
	if len(s.Recent) != 2 {
		t.Errorf("%d spans: %+v", len(s.Recent), s.Recent)
	}
	if first := s.Recent[0]; first.FromMs != 99 || first.ToMs != 100 {
		t.Errorf("%+v", first)
	}
	s = replay{}
	for i := range 20_000 { // a drain
		s.remember(start.Add(time.Duration(i)*time.Millisecond), []store.Row{row(int64(1_000_000-i), 2)})
	}
	if len(s.Recent) > 12 || s.Recent[0].ToMs != 1_000_000 || s.Recent[len(s.Recent)-1].FromMs != 980_001 {
		t.Errorf("%d spans: %+v", len(s.Recent), s.Recent)
	}
	s.remember(start.Add(-time.Hour), []store.Row{row(1, 2)}) // the clock was set back
	if len(s.Recent) != 1 {
		t.Errorf("%+v", s.Recent)
	}
}

func TestOneRestartSendsAgainWhatWasAcknowledgedLatelyAndOnlyOnce(t *testing.T) {
	f := newFaultServer(t, named("one"))
	b := newBench(t, f.url, func(c *config.Config) { c.Remote.ChunkSize = 7 })
	now := b.last
	put := func(priority, n int, at int64, series string) (keys []string) {
		var samples []metric.Sample
		for i := range n {
			keys = append(keys, key(series, at+int64(i)*1000))
			samples = append(samples, metric.Sample{Name: series, TimeMs: at + int64(i)*1000, Value: 1})
		}
		if _, err := b.db.Record(t.Context(), store.Update{Groups: []store.Group{{Priority: priority, Samples: samples}}}); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	const hour = 3600_000
	for i := range int64(4) { // settled long since, between what comes
		put(1, 20, now-(6*i+3)*hour, "a")
		put(2, 20, now-(6*i+3)*hour, "b")
		put(1, 20, now-6*(i+1)*hour, "c") // at the same time as what comes, of another priority
	}
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.ship.replay.Recent = nil
	want := map[string]bool{}
	for i := range int64(3) { // three stretches, each 6 hours further back
		for _, k := range slices.Concat(put(1, 5, now+i*6000, "a"), put(2, 5, now+i*6000, "b"), put(2, 30, now-6*(i+1)*hour, "b")) {
			want[k] = true
		}
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		for j := range b.ship.replay.Recent { // as if a stretch had passed
			b.ship.replay.Recent[j].AckedMs -= stretch.Milliseconds() + 1
		}
	}
	f.mu.Lock()
	f.script = []step{named("two")}
	f.mu.Unlock()
	put(2, 1, now+19_000, "b")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	_, kept := f.state()
	for k, n := range kept {
		if again := n - 1; again > 0 != want[k] || again > 1 {
			t.Errorf("%s was sent again %d times; acknowledged lately: %v", k, again, want[k])
		}
	}
}

func TestSpansAreBoundedAndJoinTheNearestFirst(t *testing.T) {
	var s replay
	var rows []store.Row
	for i := range int64(1000) { // each further from the one before than a span takes in
		rows = append(rows, store.Row{TimeMs: 1e12 - i*600_000, Priority: 2})
	}
	rows = append(rows, store.Row{TimeMs: 5, Priority: 2})
	s.remember(time.UnixMilli(1e12), rows)
	if n := len(s.Recent); n != 2 || s.Recent[0].FromMs != 5 || s.Recent[0].ToMs != 5 || s.Recent[1].FromMs != 1e12-999*600_000 || s.Recent[1].ToMs != 1e12 {
		t.Errorf("%d spans: %+v", n, s.Recent)
	}
	var many []status.Span
	for i := range int64(500) {
		many = append(many, status.Span{Priority: int(i % 4), FromMs: i * 1e7, ToMs: i*1e7 + 5})
	}
	if got := atMost(many, maxAgain); len(got) > maxAgain || len(got) < 4 {
		t.Errorf("%d spans", len(got))
	}
	got := union([]status.Span{{Priority: 2, FromMs: 9, ToMs: 20}, {Priority: 1, FromMs: 0, ToMs: 100}, {Priority: 2, FromMs: 1, ToMs: 10}, {Priority: 2, FromMs: 21, ToMs: 22}}, 0)
	want := []status.Span{{Priority: 1, FromMs: 0, ToMs: 100}, {Priority: 2, FromMs: 1, ToMs: 20}, {Priority: 2, FromMs: 21, ToMs: 22}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestBudgetOfADayStopsTheBacklogAndSlowsTheRest(t *testing.T) {
	f := newFaultServer(t, ok)
	b := newBench(t, f.url, func(c *config.Config) {
		c.Remote.MaxBytesPerDay = 3000
		c.Remote.BatchSize = 50
	})
	b.last -= 3600_000
	b.record(5000, "a")
	b.round()
	spentFor := b.ship.pacing.budget.used
	if spentFor < 3000 || spentFor > 5000 {
		t.Errorf("%v bytes went", spentFor)
	}
	seen, _ := f.state()
	// A restart forgets nothing.
	b.db.Close()
	b.open()
	b.ship.pacing.lastSent = time.Now()
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if again, _ := f.state(); again != seen {
		t.Errorf("%d requests with nothing left", again-seen)
	}
	if st := b.status(); !strings.Contains(st.Detail, `"budget_spent":true`) {
		t.Errorf("detail %s", st.Detail)
	}
	b.ship.pacing.lastSent = time.Now().Add(-spentEvery)
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if again, _ := f.state(); again != seen+1 {
		t.Errorf("%d requests after 10 minutes", again-seen)
	}
	// The next day.
	b.ship.pacing.budget.day--
	b.ship.pacing.budget.used = 1e9
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	if again, _ := f.state(); again <= seen+2 {
		t.Errorf("%d requests on the next day", again-seen)
	}
	if st := b.status(); strings.Contains(b.log.String(), "a new day began; uploads continue without the limit") == false {
		t.Errorf("detail %s", st.Detail)
	}
}

func TestBudgetRules(t *testing.T) {
	day := time.Date(2026, 11, 23, 23, 59, 0, 0, time.UTC)
	b := newBudget(80, 1000, day) // 10,000 bytes a second
	b.spend(999, day)
	if b.spent(day) {
		t.Error("spent one byte early")
	}
	b.spend(1, day)
	if !b.spent(day) {
		t.Error("not spent")
	}
	if b.spent(day.Add(time.Minute)) {
		t.Error("still spent on the next day")
	}
	b.spend(1000, day.Add(time.Minute))
	if !b.spent(day) {
		t.Error("setting the clock back gave new bytes")
	}
	b = newBudget(80, 0, day)
	b.spend(20_000, day)
	if w := b.wait(day); w != 2*time.Second {
		t.Errorf("wait %s", w)
	}
	if w := b.wait(day.Add(2 * time.Second)); w != 0 {
		t.Errorf("wait %s after 2 s", w)
	}
	b.spend(10_000, day.Add(time.Hour))
	if w := b.wait(day.Add(time.Hour)); w != 0 {
		t.Errorf("wait %s after an hour of silence", w)
	}
	b.spend(10_000, day.Add(time.Hour))
	if w := b.wait(day.Add(time.Hour)); w != time.Second {
		t.Errorf("an hour of silence gave more than a second's burst: wait %s", w)
	}
	if n := b.chunkBytes(); n != 20_000 {
		t.Errorf("chunks of %d bytes", n)
	}
}

func TestTheBytesOfADaySurviveAWrongClock(t *testing.T) {
	today := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	left := newBudget(0, 1000, today)
	left.spend(1000, today)
	for _, c := range []struct {
		name   string
		clocks []time.Time
		spent  bool
	}{
		{"in 1970, then set", []time.Time{time.Unix(30, 0), today.Add(time.Minute)}, true},
		{"some months ago, then set", []time.Time{today.Add(-100 * day), today.Add(time.Minute)}, true},
		{"in 1970, then set the day after", []time.Time{time.Unix(30, 0), today.Add(day)}, false},
		{"the day after", []time.Time{today.Add(day)}, false},
	} {
		b := newBudget(0, 1000, c.clocks[0])
		b.restore(left.counts())
		for _, now := range c.clocks[:len(c.clocks)-1] {
			if !b.spent(now) {
				t.Errorf("%s: new bytes at %s", c.name, now)
			}
		}
		if got := b.spent(c.clocks[len(c.clocks)-1]); got != c.spent {
			t.Errorf("%s: spent %v", c.name, got)
		}
	}

	// Spent at a time when the clock was far ahead.
	ahead := today.Add(5000 * day)
	b := newBudget(0, 1000, ahead)
	b.spend(1000, ahead)
	b.follow(today.UnixMilli(), ahead)
	if !b.spent(ahead) || !b.spent(ahead.Add(11*time.Hour)) {
		t.Error("hearing the server's time gave new bytes")
	}
	if b.spent(ahead.Add(12 * time.Hour)) {
		t.Error("the server's next day did not begin")
	}
	b.spend(1000, ahead.Add(12*time.Hour))
	next := newBudget(0, 1000, today)
	next.restore(b.counts())
	if !next.spent(today.Add(13*time.Hour)) || next.spent(today.Add(37*time.Hour)) {
		t.Error("with the clock set and after a restart, the day after is not the next one")
	}
}

func TestRateIsKeptOverManyRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	f := newFaultServer(t, ok)
	const rate = 2500 // bytes a second
	b := newBench(t, f.url, func(c *config.Config) { c.Remote.MaxKbps = rate * 8 / 1000 })
	b.last -= 3600_000
	var samples []string
	for range 20 {
		samples = append(samples, "s"+strings.Repeat("x", len(samples)))
	}
	b.record(1000, samples...)
	start := time.Now()
	for range 3 { // a round ends at the beat, which may be near
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	total := b.ship.client.link.sent.Load() + b.ship.client.link.received.Load()
	// What was saved up in a second, and one request more than there was room for.
	const slack = rate + 2*rate + 1000
	if allowed := rate*time.Since(start).Seconds() + slack; float64(total) > allowed || total < slack*3/2 {
		t.Errorf("%d bytes in %s", total, time.Since(start))
	}
	b.want(0, 20_000, 0)
}
