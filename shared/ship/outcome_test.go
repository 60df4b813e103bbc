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

// said is an answer as the client reads it.
func said(status int, kind, body string) answer {
	a := answer{status: status, header: http.Header{}, body: []byte(body), empty: body == ""}
	if kind != "" {
		a.header.Set("Content-Type", kind)
	}
	return a
}

func TestAReportNarrowsADeliveryAndAWrongOneMarksNothing(t *testing.T) {
	lines := []int{20, 5, 25}
	all, silent := acceptance{all: true}, acceptance{silent: true}
	f := func(status int, body string, want acceptance) {
		t.Helper()
		got, err := readAcceptance(said(status, "", body), lines)
		if err != nil {
			t.Errorf("%q: %v", body, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(acceptance{})); diff != "" {
			t.Errorf("%q: %s", body, diff)
		}
	}
	lie := func(status int, body, want string) {
		t.Helper()
		got, err := readAcceptance(said(status, "application/json", body), lines)
		if !errors.Is(err, errNotOurs) || !strings.Contains(err.Error(), want) {
			t.Errorf("HTTP %d %.60q gave %+v, %v; want an error with %q", status, body, got, err, want)
		}
	}
	f(204, "", silent)
	f(200, "", silent)
	f(200, `{"accepted":50}`, all)
	f(202, `{"accepted":50}`, all)
	f(200, ` {"accepted":50,"rejected":[]}`+"\n", all)
	f(200, `{"accepted":25}`, acceptance{first: 25})
	f(200, `{"accepted":0}`, acceptance{})
	f(200, `{"accepted":45,"rejected":[{"line":2,"error":"too old"}]}`, acceptance{lines: []int{1}, because: "too old"})
	f(200, `{"accepted":5,"rejected":[{"line":3,"error":"a"},{"line":1,"error":"b"}]}`, acceptance{lines: []int{2, 0}, because: "a; b"})

	for _, status := range []int{201, 202, 203, 205, 206, 207, 226, 299} {
		lie(status, "", "not a report")
	}
	for _, page := range []string{
		"Sign in to our Wi-Fi", "<!DOCTYPE html><title>Sign in</title>", "\xef\xbb\xbf<html>", "\xef\xbb\xbf{\"accepted\":50}", "OK", " \n", "[1,2]", "null", "true",
		"accepted: 25", "\x1f\x8b\x08garbage",
	} {
		lie(200, page, "not a report")
	}
	lie(200, `{}`, "without the number")
	lie(200, `{"status":"success"}`, "without the number")
	lie(200, `{"error":"login required","code":511}`, "without the number")
	lie(200, `{"accepted":null}`, "without the number")
	lie(200, `{"rejected":[{"line":3,"error":"a"}]}`, "without the number")
	lie(200, `{"accepted":51}`, "51 samples accepted of 50")
	lie(200, `{"accepted":-1}`, "-1 samples accepted")
	lie(200, `{"accepted":99999999999999999999}`, "cannot be read")
	lie(200, `{"accepted":"all"}`, "cannot be read")
	lie(200, `{"accepted":25`, "cannot be read")
	lie(200, `{"accepted":50,"rejected":[{"line":0}]}`, "line 0")
	lie(200, `{"accepted":50,"rejected":[{"line":4}]}`, "line 4")
	lie(200, `{"accepted":45,"rejected":[{"line":2},{"line":2}]}`, "line 2")
	lie(200, `{"accepted":50,"rejected":[{"line":2}]}`, "50 samples accepted")
	long := said(200, "", `{"accepted":1,"x":"`+strings.Repeat("x", maxAnswerBytes))
	long.cut = true
	if _, err := readAcceptance(long, lines); !errors.Is(err, errNotOurs) {
		t.Errorf("a body that went on beyond the limit: %v", err)
	}
}

func FuzzReportNeverNamesWhatWasNotSent(f *testing.F) {
	for _, seed := range []string{"", `{"accepted":1}`, `{"accepted":3,"rejected":[{"line":1,"error":"x"}]}`, `<html>`, `[]`, `null`, `{"rejected":null}`, "{}"} {
		f.Add(200, seed)
	}
	lines := []int{1, 2, 3}
	f.Fuzz(func(t *testing.T, status int, body string) {
		r, err := readAcceptance(said(status, "", body), lines)
		if err != nil {
			return
		}
		if r.silent != (body == "") || r.silent && status != 200 && status != 204 {
			t.Errorf("HTTP %d %q: silent is %v", status, body, r.silent)
		}
		if !r.silent && !strings.Contains(strings.ToLower(body), "accepted") {
			t.Errorf("%q is taken for a report", body)
		}
		if r.first < 0 || r.first > 6 {
			t.Errorf("%q: %d samples taken of 6", body, r.first)
		}
		for _, line := range r.lines {
			if line < 0 || line >= len(lines) {
				t.Errorf("%q: line %d of %d", body, line, len(lines))
			}
		}
	})
}
