package tests

import (
	"math"
	"strings"
	"testing"
	"time"
)

// lostTrials are boards of three days with what each lost in the last of them: a
// series of losses begins with the first, and stands still while a board is off.
var lostTrials = []struct {
	board string
	lost  float64
	last  map[string]float64 // of the last day, by reason
	at    map[string]func(minute float64) float64
}{
	{"never", 0, nil, nil},
	{"the first", 120, map[string]float64{"size_limit": 120}, reasons("size_limit", between(2890, 9999, 120, absent))},
	{"more", 100, map[string]float64{"size_limit": 100}, reasons("size_limit", between(2890, 9999, 120, 20))},
	{"long ago", 0, nil, reasons("size_limit", steady(120))},
	{"off for two days", 0, nil, reasons("size_limit", between(20, 2900, absent, 120))},
	{"more in an outage", 100, map[string]float64{"size_limit": 100}, reasons("size_limit", awayWhileMoreIsLost(2830, 2900))},
	{"another reason", 5, map[string]float64{"low_space": 5}, map[string]func(float64) float64{"size_limit": steady(120), "low_space": between(2890, 9999, 5, absent)}},
	{"a new database", 30, map[string]float64{"size_limit": 30}, reasons("size_limit", between(2890, 9999, 30, 120))},
}

func reasons(name string, at func(float64) float64) map[string]func(float64) float64 {
	return map[string]func(float64) float64{name: at}
}

// awayWhileMoreIsLost is 20 and, after minutes of which nothing is known, 120.
func awayWhileMoreIsLost(from, to float64) func(float64) float64 {
	return func(m float64) float64 { return between(from, to, absent, between(math.Inf(-1), from, 20, 120)(m))(m) }
}

// TestLostInADayCountsTheFirst asks all that is shown about losses of boards
// whose series begin, stand still and begin again.
func TestLostInADayCountsTheFirst(t *testing.T) {
	base := startVictoria(t)
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(2920 * time.Minute)
	var lines []byte
	all := 0.0
	for _, c := range lostTrials {
		all += c.lost
		// The other columns of the board's row come from what it measures.
		lines = appendCurve(t, lines, c.board, curve{name: "storage.metrics_pending_upload", at: steady(180), to: 2920}, from)
		for reason, at := range c.at {
			lines = appendCurve(t, lines, c.board, curve{name: "storage.lost_total", tags: []string{"reason", reason}, at: at, to: 2920}, from)
		}
	}
	load(t, base, lines)

	ask := func(expr string) map[string]float64 {
		t.Helper()
		series, err := askAt(t.Context(), base, strings.ReplaceAll(expr, "$site", ".*"), to)
		if err != nil {
			t.Fatalf("%v\n%s", err, expr)
		}
		got := map[string]float64{}
		for _, s := range series {
			got[s.Metric["device_id"]+s.Metric["reason"]] += s.numbers(t)[0]
		}
		return got
	}
	asked := 0
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				if !strings.Contains(target.Expr, "storage_lost_total") {
					continue
				}
				asked++
				if file == "boards.json" {
					got := ask(target.Expr)
					if p.Type == "stat" && got[""] != all {
						t.Errorf("%s: %s: %v, want %v", file, p.Title, got, all)
					}
					for _, c := range lostTrials {
						if v, row := got[c.board]; p.Type == "table" && (!row || v != c.lost) {
							t.Errorf("%s: %s: %s: %v, want %v", file, p.Title, c.board, got, c.lost)
						}
					}
					continue
				}
				for _, c := range lostTrials {
					expr := strings.NewReplacer("$device_id", c.board, "$__rate_interval", "20m").Replace(target.Expr)
					if p.Type == "stat" {
						if got := ask(expr); got[c.board] != c.lost {
							t.Errorf("%s: %s: %s: %v, want %v", file, p.Title, c.board, got, c.lost)
						}
						continue
					}
					series, err := askRange(t.Context(), base, expr, from.Add(20*time.Minute), to, "5m")
					if err != nil {
						t.Fatal(err)
					}
					most := map[string]float64{}
					for _, s := range series {
						for _, v := range s.numbers(t) {
							if !math.IsNaN(v) {
								most[s.Metric["reason"]] = max(most[s.Metric["reason"]], v)
							}
						}
					}
					for reason := range c.at {
						if most[reason] != c.last[reason] {
							t.Errorf("%s: %s: %s %s: at most %v, want %v", file, p.Title, c.board, reason, most[reason], c.last[reason])
						}
					}
				}
			}
		}
	}
	if asked != 4 {
		t.Errorf("%d panels show losses, want 4", asked)
	}

	page := 0
	for _, b := range blocks(t, "docs/victoriametrics-setup.md") {
		for expr := range strings.Lines(b.text) {
			if b.language != "promql" || !strings.Contains(expr, "storage_lost_total") {
				continue
			}
			page++
			got := ask(expr)
			for _, c := range lostTrials {
				for reason := range c.at {
					if got[c.board+reason] != c.last[reason] {
						t.Errorf("the page: %s: %v, want %v of %s", c.board, got, c.last, reason)
					}
				}
			}
		}
	}
	if page != 1 {
		t.Errorf("the page has %d queries about losses, want 1", page)
	}
}
