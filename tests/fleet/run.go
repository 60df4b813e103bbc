package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// A plan is what to try.
type plan struct {
	name     string // of the fleet, in its device ids
	url      string // of the server's import
	boards   int
	interval time.Duration // between a board's rounds
	rounds   int           // each carries half a minute of samples, whatever the interval
	outage   time.Duration // of everybody, before the rounds; 0: none
	spread   bool          // false: all boards have the same phase
}

// What was seen.
type seen struct {
	Stored      int           // samples on the boards
	Delivered   int           // of these, and the boards' own about their shippers
	SteadyBytes float64       // on the wire for a sample of the rounds
	DrainBytes  float64       // and of the outage's backlog
	Measured    time.Duration // by all boards together
	Connections int
	Requests    int // of the rounds
	Worst       int // rounds that began within an eighth of the interval
}

// round is the time of which one round of a board has the samples.
const round = 30 * time.Second

// run makes the boards and runs them.
func run(ctx context.Context, p plan) (s seen, err error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, err := newGateway(ctx, p.url)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	p.url = g.url

	boards := make([]*board, 0, p.boards)
	defer func() {
		for _, b := range boards {
			err = errors.Join(err, b.db.Close())
		}
	}()
	// Everything is well in the past, so that no sample waits for its time to come
	// and a round is one request: the newest samples have one of their own.
	from := time.Now().Add(-p.outage - time.Duration(p.rounds+2)*round - time.Hour)
	for i := range p.boards {
		b, err := newBoard(ctx, dir, i, p, from)
		if err != nil {
			return s, err
		}
		boards = append(boards, b)
	}
	backlog, backlogBytes, err := sendOutage(ctx, boards, p.outage)
	if err != nil {
		return s, err
	}

	// The first round of a shipper comes at once; those after it have a phase.
	live, ended := context.WithTimeout(ctx, time.Duration(p.rounds)*p.interval+p.interval/2)
	defer ended()
	begun := time.Now()
	group, live := errgroup.WithContext(live)
	for _, b := range boards {
		group.Go(func() error { return b.live(live) })
	}
	if err := group.Wait(); err != nil {
		return s, err
	}
	s.Worst, s.Requests = g.worst(begun.Add(p.interval), p.interval/8, p.interval)
	s.Connections = g.made()
	all, bytes, err := totals(ctx, boards)
	if err != nil {
		return s, err
	}
	s.SteadyBytes = (bytes - backlogBytes) / (all - backlog)
	if backlog > 0 {
		s.DrainBytes = backlogBytes / backlog
	}
	s.Delivered = int(all)
	err = s.finish(ctx, boards, from)
	return s, err
}

// finish sends what is still pending and counts the samples of all boards.
func (s *seen) finish(ctx context.Context, boards []*board, from time.Time) error {
	for _, b := range boards {
		s.Stored += b.stored
		s.Measured += b.clock.Sub(from.Truncate(tick))
		n, err := b.shipper.Drain(ctx)
		if err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		s.Delivered += n
	}
	return nil
}

// sendOutage makes every board measure for the time of an outage and then send its
// backlog, one board after the other, and returns what was sent.
func sendOutage(ctx context.Context, boards []*board, outage time.Duration) (samples, bytes float64, err error) {
	if outage == 0 {
		return 0, 0, nil
	}
	for _, b := range boards {
		if err := b.measure(ctx, outage); err != nil {
			return 0, 0, err
		}
		if _, err := b.shipper.Drain(ctx); err != nil {
			return 0, 0, fmt.Errorf("drain: %w", err)
		}
	}
	return totals(ctx, boards)
}

// live runs the rounds of a board until ctx ends.
func (b *board) live(ctx context.Context) error {
	for {
		if err := b.measure(ctx, round); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		next, err := b.shipper.Round(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// totals adds up what the shippers count.
func totals(ctx context.Context, boards []*board) (samples, bytes float64, err error) {
	for _, b := range boards {
		n, err := b.counter(ctx, "uploader.metrics_uploaded_total")
		if err != nil {
			return 0, 0, err
		}
		sent, err := b.counter(ctx, "uploader.bytes_sent_total")
		if err != nil {
			return 0, 0, err
		}
		samples, bytes = samples+n, bytes+sent
	}
	return samples, bytes, nil
}

// rate is how many requests came in a second, after each board's first round.
func (s seen) rate(p plan) float64 {
	return float64(s.Requests) / (time.Duration(p.rounds-1)*p.interval + p.interval/2).Seconds()
}

// report prints what was seen beside what was to be expected.
func report(w io.Writer, p plan, s seen) error {
	l := defaults(p.boards)
	l.Interval, l.Outage = p.interval, p.outage
	_, err := fmt.Fprintf(w, `boards                          %d
samples stored, delivered       %d, %d
bytes a sample, rounds          %.2f (docs: %.1f)
bytes a sample, draining        %.2f (docs: %.1f)
connections                     %d (docs: %d)
requests a second               %.2f (docs: %.2f)
worst eighth of an interval     %d rounds begin (docs: at most %.0f)
`, p.boards, s.Stored, s.Delivered, s.SteadyBytes, l.SteadyBytes, s.DrainBytes, l.DrainBytes, s.Connections, l.connections(),
		s.rate(p), l.requests(), s.Worst, l.surge(p.interval/8, p.spread))
	return err
}
