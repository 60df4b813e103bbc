package ship

import (
	"net/http"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

func TestBackoffTriplesUpToTheCapAndNeverPassesIt(t *testing.T) {
	r := config.Default().Remote.Retry
	f := func(failures int, low, high time.Duration) {
		t.Helper()
		for _, c := range []struct {
			at   float64
			want time.Duration
		}{{0, low}, {1, high}, {0.5, (low + high) / 2}} {
			got := backoff(r, failures, c.at)
			if diff := got - c.want; diff < -time.Microsecond || diff > time.Microsecond {
				t.Errorf("failure %d at %v: %s, want %s", failures, c.at, got, c.want)
			}
		}
	}
	f(1, 4*time.Second, 6*time.Second)
	f(2, 12*time.Second, 18*time.Second)
	f(3, 36*time.Second, 54*time.Second)
	f(4, 48*time.Second, 60*time.Second)
	f(1000000, 48*time.Second, 60*time.Second)
	r.MaxAttempts = 1
	f(2, 48*time.Second, 60*time.Second)
	r.MaxAttempts, r.JitterPercent, r.MaxBackoff = 10, 0, 40*time.Second
	f(3, 40*time.Second, 40*time.Second)
}

func TestRetryAfterIsSecondsOrADateAndAtMostAnHour(t *testing.T) {
	f := func(text, date string, want time.Duration) {
		t.Helper()
		h := http.Header{"Retry-After": {text}}
		if date != "" {
			h.Set("Date", date)
		}
		if got := retryAfter(h); got != want {
			t.Errorf("Retry-After %q at %q: %s, want %s", text, date, got, want)
		}
	}
	const date = "Mon, 23 Nov 2026 20:00:00 GMT"
	f("7", "", 7*time.Second)
	f(" 7 ", date, 7*time.Second)
	f("0", date, 0)
	f("3600", "", time.Hour)
	f("3601", "", time.Hour)
	f("315360000", "", time.Hour)
	f("99999999999999999999999999", "", time.Hour)
	f("Mon, 23 Nov 2026 20:00:30 GMT", date, 30*time.Second)
	f("Monday, 23-Nov-26 20:02:00 GMT", date, 2*time.Minute)
	f("Mon, 23 Nov 2026 19:59:00 GMT", date, 0)
	f("Thu, 23 Nov 2036 20:00:00 GMT", date, time.Hour)
	f("Mon, 23 Nov 2026 20:00:30 GMT", "", 0)        // from when? our clock may be unset
	f("Mon, 23 Nov 2026 20:00:30 GMT", "garbage", 0) // likewise
	f("-5", date, 0)
	f("7.5", date, 0)
	f("soon", date, 0)
	f("", date, 0)
}

func TestEachDeviceHasItsOwnUploadMomentOncePerInterval(t *testing.T) {
	const interval = 30 * time.Second
	start := time.Unix(1_800_000_000, 0)
	spread := map[int]int{}
	for i := range 1000 {
		device := "board-" + string(rune('a'+i%26)) + string(rune('0'+i/26))
		wait := beat(start, interval, device)
		if wait <= 0 || wait > interval {
			t.Fatalf("%s waits %s", device, wait)
		}
		spread[int(wait/time.Second)]++
		if again := beat(start.Add(wait), interval, device); again != interval {
			t.Errorf("%s: on its beat the next one is in %s", device, again)
		}
		if later := beat(start.Add(wait/2), interval, device); later != wait-wait/2 {
			t.Errorf("%s: halfway the beat is in %s, want %s", device, later, wait-wait/2)
		}
	}
	for second := range 30 {
		if n := spread[second]; n < 10 || n > 70 {
			t.Errorf("%d of 1000 devices in second %d", n, second)
		}
	}
	if wait := beat(time.Unix(-5, 0), interval, "x"); wait <= 0 || wait > interval {
		t.Errorf("before 1970: %s", wait)
	}
}
