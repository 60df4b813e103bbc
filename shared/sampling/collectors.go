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
	// collectTimeout is how long a round waits for its slowest collector. A sensor
	// whose driver never answers must not hold up the others: it is left behind
	// and counted, and not asked again before it has answered.
	collectTimeout = 3 * time.Second
	// maxNotes bounds the notes of a collector that are remembered as logged.
	maxNotes = 100
)

// scheduled is a collector with what the rounds remember of it.
type scheduled struct {
	collect.Scheduled
	part    *status.Component
	written status.Row // what the database has of it; zero: nothing
	due     time.Time
	started time.Time   // of the answer that is outstanding
	answer  chan answer // nil: none is outstanding
	noData  bool        // the last answer was collect.ErrNoData
	found   bool        // there is something to read, or always is: see collect.Scheduled

	keeping

	loggedFailures int                   // readings that failed when it was logged last, 0: none do
	loggedNotes    map[collect.Note]bool // nil: none
	loggedPanic    bool                  // it has panicked since it last answered
}

type answer struct {
	collect.Observation
	err  error
	took time.Duration
}

// errTimeout says that a collector owes its answer.
var errTimeout = errors.New("no answer")

// A panicError is what a collector's panic becomes.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %.200v", e.value) }

// start starts the collector, unless it still owes an answer.
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

// collect runs the collector; a panic is its error, and costs its own samples.
func (a *scheduled) collect(now collect.Moment) (o collect.Observation, err error) {
	defer func() {
		if v := recover(); v != nil {
			o, err = collect.Observation{}, &panicError{v, debug.Stack()}
		}
	}()
	if a.keeper != nil {
		return a.keeper.Observe(now)
	}
	o.Samples, err = a.Collect(now.Wall)
	return o, err
}

// await waits for the collector's answer and enters it in its status and counts.
func (r *Sampler) await(ctx context.Context, a *scheduled, now status.Moment) collect.Observation {
	var got answer
	select { // an answer counts, also when the time for another's has run out
	case got = <-a.answer:
		a.answer = nil
	default:
		select {
		case got = <-a.answer:
			a.answer = nil
		case <-ctx.Done():
			got.err = fmt.Errorf("%w for %s; it is asked again once it has answered", errTimeout, time.Since(a.started).Round(time.Second))
		}
	}
	failed, samples := collect.Failed(got.err), len(got.Samples)+len(got.Earlier.Samples)
	a.noData = errors.Is(got.err, collect.ErrNoData)
	a.found = a.found || !a.Optional || !a.noData
	a.part.Expect(a.Interval)
	if a.found {
		r.count(a.Name, samples, failed)
	} else {
		a.part.Expect(a.seldom())
	}
	if a.found && a.answer == nil {
		r.self.Tally.Observe("collector.collection_duration_seconds", got.took.Seconds(), "collector", a.Name)
	}
	if failed == 0 || samples > 0 {
		a.part.Succeed(now, samples)
	}
	if failed > 0 {
		a.part.Fail(now, got.err, failed)
	}
	if a.answer == nil {
		r.log.LogAttrs(ctx, slog.LevelDebug, "collected", slog.String("collector", a.Name), slog.Int("count", samples),
			slog.Float64("duration_ms", float64(got.took.Microseconds())/1000))
	}
	r.logChange(a, failed, got.err)
	a.keep(got.Observation)
	return got.Observation
}

// count adds to what is said of a collector.
func (r *Sampler) count(collector string, samples, failed int) {
	r.self.Tally.Add("collector.metrics_collected_total", float64(samples), "collector", collector)
	r.self.Tally.Add("collector.metrics_failed_total", float64(failed), "collector", collector)
}

// logChange logs what a collector cannot read once, when it begins or becomes
// more, and its end. The text alone may change with every round: it quotes lines
// with counters. What it leaves out on purpose is logged once as well.
func (r *Sampler) logChange(a *scheduled, failed int, err error) {
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		if !a.loggedPanic {
			r.log.Error("a collector panicked; it has no samples in this round", "collector", a.Name, "error", err, "error_type", errorType(err), "stack", string(panicked.stack))
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
		r.log.Info("collector skips something", "collector", a.Name, "what", string(note))
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
