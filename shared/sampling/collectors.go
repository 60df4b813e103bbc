package sampling

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/taniwha3/thugshells/shared/collect"
	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// collectTimeout is how long a round waits for its slowest collector. A sensor whose
	// driver does not answer must not delay the others: it is left out of the round and
	// counted, and does not run again before it has answered.
	collectTimeout = 3 * time.Second
	// maxNotes bounds the notes of a collector that are remembered as logged.
	maxNotes = 100
)

// scheduled is a collector with its schedule and its state.
type scheduled struct {
	collect.Scheduled
	component *status.Component
	written   status.Row // its row in the database; zero: none
	due       time.Time
	started   time.Time   // of the answer that is outstanding
	answer    chan answer // nil: none is outstanding
	noData    bool        // the last answer was collect.ErrNoData
	found     bool        // it has had something to read, or need not: see collect.Scheduled

	resuming

	loggedFailures int                   // failed readings that were logged last; 0: none
	loggedNotes    map[collect.Note]bool // nil: none
	loggedPanic    bool                  // a panic was logged since it last read everything
}

type answer struct {
	collect.Observation
	err  error
	took time.Duration
}

// errTimeout says that a collector has not answered.
var errTimeout = errors.New("no answer")

// A panicError is the error of a collector that panicked.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %.200v", e.value) }

// start starts the collector, unless an earlier run has not answered yet.
func (a *scheduled) start(now collect.Moment) {
	if a.answer != nil {
		return
	}
	a.started, a.answer = time.Now(), make(chan answer, 1)
	go func(out chan<- answer) {
		begun := time.Now()
		o, err := a.collect(now)
		out <- answer{o, err, time.Since(begun)}
	}(a.answer)
}

// collect runs the collector. A panic becomes an error and costs only this collector's
// samples.
func (a *scheduled) collect(now collect.Moment) (o collect.Observation, err error) {
	defer func() {
		if v := recover(); v != nil {
			o, err = collect.Observation{}, &panicError{v, debug.Stack()}
		}
	}()
	if a.resumer != nil {
		return a.resumer.Observe(now)
	}
	o.Samples, err = a.Collect(now.Wall)
	return o, err
}

// await waits for the collector's answer and updates its status and counters.
func (r *Sampler) await(ctx context.Context, a *scheduled, now status.Moment) collect.Observation {
	var got answer
	select { // an answer that is there counts, also when the time is over
	case got = <-a.answer:
		a.answer = nil
	default:
		select {
		case got = <-a.answer:
			a.answer = nil
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return collect.Observation{} // the daemon is told to stop: the collector is not late
			}
			got.err = fmt.Errorf("%w for %s; it runs again once it has answered", errTimeout,
				time.Since(a.started).Round(time.Second))
		}
	}
	failed, samples := collect.Failed(got.err), len(got.Samples)+len(got.Earlier.Samples)
	a.noData = errors.Is(got.err, collect.ErrNoData)
	a.found = a.found || !a.Optional || !a.noData
	a.component.Expect(a.Interval)
	if a.found {
		r.count(a.Name, samples, failed)
	} else {
		a.component.Expect(a.searchInterval())
	}
	if a.found && a.answer == nil {
		r.self.Tally.Observe("collector.collection_duration_seconds", got.took.Seconds(), "collector", a.Name)
	}
	if failed == 0 || samples > 0 {
		a.component.Succeed(now, samples)
	}
	if failed > 0 {
		a.component.Fail(now, got.err, failed)
	}
	if a.answer == nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "collected", slog.String("collector", a.Name), slog.Int("count", samples),
			slog.Float64("duration_ms", float64(got.took.Microseconds())/1000))
	}
	r.logChange(a, failed, got.err)
	a.remember(got.Observation)
	return got.Observation
}

// count adds to the self-metrics about a collector.
func (r *Sampler) count(collector string, samples, failed int) {
	r.self.Tally.Add("collector.metrics_collected_total", float64(samples), "collector", collector)
	r.self.Tally.Add("collector.metrics_failed_total", float64(failed), "collector", collector)
}

// logChange logs the failures of a collector when they begin or become more, and when
// they end. A changed text alone is not logged, because it may quote lines with
// counters. What a collector skips on purpose is logged once as well.
func (r *Sampler) logChange(a *scheduled, failed int, err error) {
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		if !a.loggedPanic {
			r.log.Error("a collector panicked; it has no samples in this round", "collector", a.Name, "error", err,
				"error_type", errorType(err), "stack", string(panicked.stack))
		}
		a.loggedPanic, a.loggedFailures = true, failed
	case failed > a.loggedFailures:
		a.loggedFailures = failed
		r.log.Warn("collector could not read everything; what it could read is stored, the rest is skipped and counted",
			"collector", a.Name, "failed", failed, "error", err, "error_type", errorType(err))
	case failed == 0 && a.loggedFailures > 0:
		a.loggedFailures, a.loggedPanic = 0, false
		r.log.Info("collector reads everything again", "collector", a.Name)
	}
	for _, note := range collect.Notes(err) {
		if a.loggedNotes[note] {
			continue
		}
		if a.loggedNotes == nil || len(a.loggedNotes) >= maxNotes {
			a.loggedNotes = map[collect.Note]bool{}
		}
		a.loggedNotes[note] = true
		r.log.Info("collector skips part of its sources on purpose", "collector", a.Name, "what", string(note))
	}
}

// errorType names the kind of a collector's error in one word.
func errorType(err error) string {
	var panicked *panicError
	var path *fs.PathError
	switch {
	case errors.As(err, &panicked):
		return "panic"
	case errors.Is(err, errTimeout):
		return "timeout"
	case errors.Is(err, fs.ErrNotExist):
		return "not_found"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	case errors.As(err, &path):
		return "read"
	}
	return "format"
}
