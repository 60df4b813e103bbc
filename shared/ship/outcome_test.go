package ship

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatusesMeanWhatTheTableSays(t *testing.T) {
	f := func(want Outcome, statuses ...int) {
		t.Helper()
		for _, status := range statuses {
			if got := outcomeOf(status); got != want {
				t.Errorf("HTTP %d is %s, want %s", status, got, want)
			}
		}
	}
	f(Delivered, 200, 201, 202, 204, 206, 299)
	f(Later, 408, 425, 429, 500, 501, 502, 503, 504, 507, 511, 599)
	f(Misconfigured, 300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 405, 407)
	f(Refused, 400, 402, 406, 409, 410, 411, 412, 413, 414, 415, 416, 418, 421, 422, 424, 426, 428, 431, 451, 499)
	f(Later, 0, 100, 101, 199, 600, 999)
}

func TestReportsNarrowADeliveryAndLiesMarkNothing(t *testing.T) {
	lines := []int{20, 5, 25}
	all := acceptance{all: true}
	f := func(kind, body string, want acceptance) {
		t.Helper()
		got, err := readReport(http.Header{"Content-Type": {kind}}, []byte(body), false, lines)
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(acceptance{})); diff != "" {
			t.Errorf("%q: %s", body, diff)
		}
	}
	lie := func(kind, body, want string) {
		t.Helper()
		got, err := readReport(http.Header{"Content-Type": {kind}}, []byte(body), false, lines)
		if !errors.Is(err, errNotOurs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q gave %+v, %v; want an error with %q", body, got, err, want)
		}
	}
	f("", "", all)
	f("text/plain", "OK", all)
	f("", " \n", all)
	f("application/json", `{"status":"success"}`, all)
	f("application/json", `{"accepted":50}`, all)
	f("application/json", `{"accepted":50,"rejected":[]}`, all)
	f("application/json", `{"accepted":25}`, acceptance{taken: 25})
	f("", `{"accepted":0}`, acceptance{})
	f("application/json", `{"accepted":45,"rejected":[{"line":2,"error":"too old"}]}`, acceptance{lines: []int{1}, because: "too old"})
	f("application/json", `{"rejected":[{"line":3,"error":"a"},{"line":1,"error":"b"}]}`, acceptance{lines: []int{2, 0}, because: "a; b"})

	lie("text/html; charset=utf-8", "Sign in to our Wi-Fi", "HTML")
	lie("", "<!DOCTYPE html><title>Sign in</title>", "HTML")
	lie("application/json", `{"accepted":51}`, "51 samples accepted of 50")
	lie("application/json", `{"accepted":-1}`, "-1 samples accepted")
	lie("application/json", `{"accepted":99999999999999999999}`, "cannot be read")
	lie("application/json", `{"accepted":"all"}`, "cannot be read")
	lie("application/json", `{"accepted":25`, "cannot be read")
	lie("application/json", `accepted: 25`, "cannot be read")
	lie("application/json", `[1,2]`, "cannot be read")
	lie("application/json", `{"rejected":[{"line":0}]}`, "line 0")
	lie("application/json", `{"rejected":[{"line":4}]}`, "line 4")
	lie("application/json", `{"rejected":[{"line":2},{"line":2}]}`, "line 2")
	lie("application/json", `{"accepted":50,"rejected":[{"line":2}]}`, "50 samples accepted")
	if _, err := readReport(nil, []byte(`{"accepted":1,"x":"`+strings.Repeat("x", maxAnswerBytes)), true, lines); !errors.Is(err, errNotOurs) {
		t.Errorf("a body that went on beyond the limit: %v", err)
	}
}

func FuzzReportNeverNamesWhatWasNotSent(f *testing.F) {
	for _, seed := range []string{"", `{"accepted":1}`, `{"accepted":3,"rejected":[{"line":1,"error":"x"}]}`, `<html>`, `[]`, `null`, `{"rejected":null}`} {
		f.Add("application/json", seed)
	}
	lines := []int{1, 2, 3}
	f.Fuzz(func(t *testing.T, kind, body string) {
		r, err := readReport(http.Header{"Content-Type": {kind}}, []byte(body), false, lines)
		if err != nil {
			return
		}
		if r.taken < 0 || r.taken > 6 {
			t.Errorf("%q: %d samples taken of 6", body, r.taken)
		}
		for _, line := range r.lines {
			if line < 0 || line >= len(lines) {
				t.Errorf("%q: line %d of %d", body, line, len(lines))
			}
		}
	})
}
