package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A load is what a fleet asks of its server, by arithmetic from what one board
// does. TestTheArithmetic holds it against real shippers.
type load struct {
	Boards           int
	SamplesPerSecond float64 // of one board
	Interval         time.Duration
	SteadyBytes      float64 // on the wire for a sample, headers and all, a round each interval
	DrainBytes       float64 // the same while a backlog drains
	Outage           time.Duration
}

// defaults is a board with the default configuration: TestTheArithmetic
// measures the bytes.
func defaults(boards int) load {
	return load{
		Boards: boards, SamplesPerSecond: 6, Interval: 30 * time.Second,
		SteadyBytes: 9.5, DrainBytes: 3.7, Outage: time.Hour,
	}
}

func (l load) samples() float64 { return float64(l.Boards) * l.SamplesPerSecond }
func (l load) bytes() float64   { return l.samples() * l.SteadyBytes }

// requests is one a round, and one a minute with the shipper's samples about
// itself.
func (l load) requests() float64 { return float64(l.Boards) * (1/l.Interval.Seconds() + 1.0/60) }

// connections is one a board: it is kept open between rounds.
func (l load) connections() int { return l.Boards }

// backlog is the samples that wait when an outage of everybody ends.
func (l load) backlog() float64 { return l.samples() * l.Outage.Seconds() }

func (l load) backlogBytes() float64 { return l.backlog() * l.DrainBytes }

// present is the samples of the first round after an outage: what is newest,
// which goes before the backlog. It comes within one interval.
func (l load) present() float64 { return l.samples() * 2 * l.Interval.Seconds() }

// surge is how many rounds begin within the worst stretch of the given length, of
// any when everybody is back. Without a phase of their own all do. Spread by a
// hash of the device id, phases fall like dice, so that some stretches get well
// more than their share: 99 fleets of 100 have none with more than this.
//
// For the worst stretch it is enough to look at those that begin with a round.
// In one the other boards are a binomial number; there are as many as boards, and
// together they may exceed the limit with a probability of 1 %.
func (l load) surge(stretch time.Duration, spread bool) float64 {
	others, part := float64(l.Boards-1), stretch.Seconds()/l.Interval.Seconds()
	if !spread || others < 1 || part >= 1 {
		return float64(l.Boards)
	}
	mean, more := others*part, 0.0
	for k := min(others, math.Floor(mean+20*math.Sqrt(mean)+20)); k > 0; k-- {
		if more += binomial(others, k, part); float64(l.Boards)*more >= 0.01 {
			return k + 1
		}
	}
	return 1
}

// binomial is the probability of k of n when each has p.
func binomial(n, k, p float64) float64 {
	log := func(v float64) float64 {
		l, _ := math.Lgamma(v + 1)
		return l
	}
	return math.Exp(log(n) - log(k) - log(n-k) + k*math.Log(p) + (n-k)*math.Log1p(-p))
}

// table prints the figures of several fleets as Markdown.
func table(fleets ...load) string {
	var b strings.Builder
	line := func(what string, cell func(load) string) {
		b.WriteString("| " + what + " |")
		for _, l := range fleets {
			b.WriteString(" " + cell(l) + " |")
		}
		b.WriteString("\n")
	}
	line("boards", func(l load) string { return whole(float64(l.Boards)) })
	b.WriteString("| --- |" + strings.Repeat(" ---: |", len(fleets)) + "\n")
	line("samples a second", func(l load) string { return whole(l.samples()) })
	line("requests a second", func(l load) string { return whole(l.requests()) })
	line("rounds that begin in the worst second, spread: at most", func(l load) string { return whole(l.surge(time.Second, true)) })
	line("… the same without the spread", func(l load) string { return whole(l.surge(time.Second, false)) })
	line("bytes a second at the server", func(l load) string { return size(l.bytes()) })
	line("bytes a day at the server", func(l load) string { return size(l.bytes() * 86400) })
	line("bytes a day of one board's link", func(l load) string { return size(l.bytes() * 86400 / float64(l.Boards)) })
	line("connections", func(l load) string { return whole(float64(l.connections())) })
	line("active series, about 190 a board", func(l load) string { return whole(190 * float64(l.Boards)) })
	line("disk of 90 days at 2.5 bytes a sample", func(l load) string { return size(2.5 * l.samples() * 86400 * 90) })
	line("after an hour without the server: samples waiting", func(l load) string { return whole(l.backlog()) })
	line("… bytes of them on the wire", func(l load) string { return size(l.backlogBytes()) })
	line("… samples of the present, within 30 s", func(l load) string { return whole(l.present()) })
	line("… drained in an hour, it adds samples a second", func(l load) string { return whole(l.backlog() / 3600) })
	return b.String()
}

// whole prints a number with thin groups of three.
func whole(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	if v < 10 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size prints bytes in powers of a thousand.
func size(v float64) string {
	unit := 0
	for v >= 1000 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	return fmt.Sprintf("%.3g %s", v, []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit])
}
