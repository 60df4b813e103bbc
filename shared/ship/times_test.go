package ship

import (
	"net/http"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// A datedServer is a server that accepts everything and sends the Date that a test
// sets.
type datedServer struct {
	off      time.Duration // its clock minus this one
	no       bool          // it sends no Date
	age      bool          // it answers from a cache
	requests int
	samples  int
}

func (d *datedServer) RoundTrip(r *http.Request) (*http.Response, error) {
	d.requests++
	if r.ContentLength > 0 {
		samples, _, err := readBody(r.Header, r.Body)
		if err != nil {
			return nil, err
		}
		d.samples += len(samples)
	}
	a := respond(204, "")
	a.Header.Set("Date", time.Now().Add(d.off).UTC().Format(http.TimeFormat))
	if d.no {
		a.Header.Del("Date")
	}
	if d.age {
		a.Header.Set("Age", "3")
	}
	return a, nil
}

func newDated(t *testing.T) (*bench, *datedServer) {
	b, d := newBench(t, "http://server.example/api/v1/import"), &datedServer{}
	b.ship.client.transport = d
	return b, d
}

// tells makes the server send a time that the shipper then knows.
func (d *datedServer) tells(t *testing.T, b *bench, off time.Duration) {
	t.Helper()
	d.off = off
	if err := b.ship.askTime(t.Context(), newRound(time.Time{})); err != nil {
		t.Fatal(err)
	}
}

func TestOneWrongDateRejectsNothing(t *testing.T) {
	for _, off := range []time.Duration{-3 * 24 * time.Hour, 60 * 24 * time.Hour, -56 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		b, d := newDated(t)
		b.record(120, "a")
		d.tells(t, b, off)
		d.off = 0
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 120, 0)
	}
}

func TestAWrongDateHoldsUntilItIsConfirmedAndWhatItRejectedComesBack(t *testing.T) {
	for _, off := range []time.Duration{-3 * 24 * time.Hour, 60 * 24 * time.Hour, -56 * 365 * 24 * time.Hour} {
		b, d := newDated(t)
		d.tells(t, b, off)
		b.record(120, "a")
		for range 5 {
			before := d.requests
			if err := b.round(); err != nil {
				t.Fatal(err)
			}
			b.want(120, 0, 0)
			if d.requests == before {
				t.Error("no request in a round that sends nothing")
			}
		}
		if b.minutePasses(); d.samples != 0 {
			t.Errorf("%d samples were sent for the server to drop", d.samples)
		}
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 0, 120)
		// More is rejected only after the server was asked in the same round.
		b.record(10, "a")
		before := d.requests
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.want(0, 0, 130)
		if d.requests == before {
			t.Error("a round was rejected without a request")
		}
		// The server's clock is set right.
		d.off = 0
		b.record(10, "a")
		for range 2 {
			if err := b.round(); err != nil {
				t.Fatal(err)
			}
		}
		b.want(0, 140, 0)
	}
}

func TestAConfirmationExpires(t *testing.T) {
	b, d := newDated(t)
	d.tells(t, b, -3*24*time.Hour)
	b.record(1, "a")
	b.round()
	b.minutePasses()
	b.round()
	b.want(0, 0, 1)
	b.ship.clocks.confirmation.second = time.Now().Add(-confirmedFor)
	d.age = true // no fresh answer
	b.record(1, "a")
	b.round()
	b.want(1, 0, 1)
}

func TestAnswersThatDisagreeConfirmNothing(t *testing.T) {
	b, d := newDated(t)
	d.tells(t, b, -2*24*time.Hour-time.Hour)
	b.record(10, "a")
	for i := range 6 {
		d.off = -time.Duration(3+i) * 24 * time.Hour // each another time
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
		b.minutePasses()
	}
	b.want(10, 0, 0)
}

func TestASampleWithATrustedTimeIsSentWhateverTheDate(t *testing.T) {
	for by, sent := range map[string]bool{"kernel": true, "timesyncd": true, "server": false, "operator": false} {
		b, d := newDated(t)
		now, err := store.Now()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.db.RecordClock(t.Context(), store.Clock{Now: now, BootID: b.boot, Trusted: true, By: by}); err != nil {
			t.Fatal(err)
		}
		d.tells(t, b, -3*24*time.Hour)
		b.record(10, "a")
		for range 3 {
			if err := b.round(); err != nil {
				t.Fatal(err)
			}
			b.minutePasses()
		}
		if sent {
			b.want(0, 10, 0)
		} else {
			b.want(0, 0, 10)
		}
	}
}

// Samples that have to wait for a confirmed time do not hold up the others.
func TestHeldSamplesDoNotBlockOthers(t *testing.T) {
	b, _ := newDated(t)
	b.record(300, "a")
	last := b.last
	b.last += 72 * time.Hour.Milliseconds()
	b.record(300, "ahead")
	b.last = last
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(300, 300, 0)
	b.minutePasses()
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 300, 300)
}

// What an earlier run rejected for its time is judged again by the first answer.
func TestRejectedTimesAreJudgedAgainAfterAStart(t *testing.T) {
	b, d := newDated(t)
	d.tells(t, b, -3*24*time.Hour)
	b.record(50, "a")
	b.round()
	b.minutePasses()
	b.round()
	b.want(0, 0, 50)
	b.db.Close()
	b.open()
	d.off = 0
	b.ship.client.transport = d
	b.record(1, "a")
	for range 2 {
		if err := b.round(); err != nil {
			t.Fatal(err)
		}
	}
	b.want(0, 51, 0)
}

func TestWithoutAnyDateSamplesAreSent(t *testing.T) {
	b, d := newDated(t)
	d.no = true
	b.record(10, "a")
	b.last -= 60 * 24 * time.Hour.Milliseconds()
	b.record(10, "old")
	if err := b.round(); err != nil {
		t.Fatal(err)
	}
	b.want(0, 20, 0)
}
