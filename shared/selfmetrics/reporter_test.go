package selfmetrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
)

func TestCountersContinueFromTheLastRun(t *testing.T) {
	first := New("metrics-shipper", time.Now())
	first.Tally.Add("uploader.metrics_uploaded_total", 7)
	first.process(1000)
	kept := append(first.Tally.All(), metric.Count{Name: "collector.metrics_failed_total", Value: 3},
		metric.Count{Name: cpuSeconds, Tags: metric.Tags("daemon", "metrics-collector"), Value: 1e6})

	second := New("metrics-shipper", time.Now())
	second.Restore(kept, "uploader.")
	for _, s := range second.process(2000) {
		before := first.Tally.Value(s.Name, "daemon", "metrics-shipper")
		if s.Name != resident && (s.Value < metric.Round(before) || s.Value > before+1e5 && s.Name == cpuSeconds) {
			t.Errorf("%s went from %v to %v", s.Name, before, s.Value)
		}
	}
	if n := second.Tally.Value("uploader.metrics_uploaded_total"); n != 7 {
		t.Errorf("uploaded %v, want 7", n)
	}
	if n := second.Tally.Value("collector.metrics_failed_total"); n != 0 {
		t.Errorf("took over another daemon's count: %v", n)
	}
}

func TestCountsLeaveTheProcessOut(t *testing.T) {
	v := New("d", time.Now())
	v.Tally.Add("collector.metrics_failed_total", 1, "collector", "a")
	v.Tally.Observe("collector.collection_duration_seconds", 0.05, "collector", "a")
	v.process(1)
	var counts, parts []string
	for _, s := range v.counts(1, func(name string) bool { return !OfHistogram(name) }) {
		counts = append(counts, s.Name)
	}
	for _, s := range v.counts(1, OfHistogram) {
		parts = append(parts, s.Name)
	}
	if !slices.Equal(counts, []string{"collector.metrics_failed_total"}) || len(parts) != 6 {
		t.Errorf("counts %v, parts %v", counts, parts)
	}
}

func TestAScheduleIsNeitherLateNorDoubled(t *testing.T) {
	start := time.Now()
	b := Schedule{Every: time.Minute}
	n := 0
	// Asked each ten seconds, always a little off.
	for i := range 6 * 60 {
		jitter := time.Duration(i%3-1) * 20 * time.Millisecond
		if b.Due(start.Add(time.Duration(i)*10*time.Second + jitter)) {
			n++
		}
	}
	if n != 60 {
		t.Errorf("due %d times in an hour, want 60", n)
	}
	if !b.Due(start.Add(6*time.Hour)) || b.Due(start.Add(6*time.Hour+time.Second)) {
		t.Error("missed beats are made up for")
	}
	b.Start(start, time.Hour)
	if b.Due(start.Add(50 * time.Minute)) {
		t.Error("due before its start")
	}
}

func TestEachGroupHasItsOwnScheduleAndAllCanBePostponed(t *testing.T) {
	start := time.Now()
	all := func(string) bool { return true }
	r := New("d", start, Group{Every: time.Minute, Of: all}, Group{Every: 3 * time.Minute, Process: true}, Group{Every: 10 * time.Minute, First: 2 * time.Minute, Of: OfHistogram})
	r.Tally.Add("collector.metrics_failed_total", 1, "collector", "a")
	r.Tally.Observe("collector.collection_duration_seconds", 0.05, "collector", "a")
	due := func(after time.Duration) (text string) {
		for _, s := range r.Due(start.Add(after)) {
			switch {
			case OfHistogram(s.Name):
				text += "h"
			case strings.HasPrefix(s.Name, "process."):
				text += "p"
			default:
				text += "c"
			}
		}
		return text
	}
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, "hhhhhhcppp"}, {30 * time.Second, ""}, {time.Minute, "hhhhhhc"}, {2 * time.Minute, "hhhhhhchhhhhh"}, {3 * time.Minute, "hhhhhhcppp"}} {
		if got := due(tt.after); got != tt.want {
			t.Errorf("after %s: %s, want %s", tt.after, got, tt.want)
		}
	}
	r.Postpone(start.Add(10 * time.Minute))
	if got := due(10*time.Minute + 50*time.Second); got != "" {
		t.Errorf("postponed, and yet: %s", got)
	}
	if got := due(11 * time.Minute); got != "hhhhhhc" {
		t.Errorf("an interval later: %s", got)
	}
}
