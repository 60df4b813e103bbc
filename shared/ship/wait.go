package ship

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

const (
	// retryAfterCap bounds the wait that a server may ask for.
	retryAfterCap = time.Hour
	// misconfiguredFactor times the longest backoff is the wait while the configuration
	// is wrong, which only a person can change.
	misconfiguredFactor = 5
)

// backoff is the wait after a number of failures in a row, from 1: initial_backoff,
// multiplied by backoff_multiplier for each further one, varied by jitter_percent and
// at most max_backoff. After max_attempts failures it is max_backoff, varied only
// downwards. At is a random number from 0 to 1.
func backoff(r config.Retry, failures int, at float64) time.Duration {
	base := float64(r.MaxBackoff)
	if failures <= r.MaxAttempts {
		base = min(base, float64(r.InitialBackoff)*math.Pow(r.BackoffMultiplier, float64(failures-1)))
	}
	low := base * (1 - r.JitterPercent/100)
	high := min(base*(1+r.JitterPercent/100), float64(r.MaxBackoff))
	return time.Duration(low + at*(high-low))
}

// misconfiguredWait is the wait while the configuration is wrong.
func misconfiguredWait(r config.Retry, at float64) time.Duration {
	return time.Duration(misconfiguredFactor * float64(r.MaxBackoff) * (1 - at*r.JitterPercent/100))
}

// retryAfter is the wait that a server asks for, at most retryAfterCap: seconds, or an
// HTTP date, which counts from the answer's own Date, so that the local clock does not
// matter (RFC 9110, 10.2.3). It is 0 if the header is missing or malformed.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(retryAfterCap/time.Second) {
			return retryAfterCap
		}
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(until.Sub(now), 0), retryAfterCap)
}

// beat is the time until the next round. Rounds are at whole intervals of the wall
// clock plus a part of the interval that the device's id decides, so that boards that
// get their power back together do not send together.
func beat(now time.Time, interval time.Duration, device string) time.Duration {
	offset := int64(share(interval, device))
	gone := (now.UnixNano() - offset) % int64(interval)
	if gone < 0 {
		gone += int64(interval)
	}
	return interval - time.Duration(gone)
}

// share is a part of a time that the device's id decides, spread evenly.
func share(of time.Duration, device string) time.Duration {
	sum := sha256.Sum256([]byte(device)) // a weaker hash would give consecutive ids similar shares
	return time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(of))
}
