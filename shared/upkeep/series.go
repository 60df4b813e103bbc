package upkeep

import (
	"context"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// surveyEvery is how often series without samples are looked for while there
	// is room for more: each time all samples are read.
	surveyEvery = 24 * time.Hour
	// fullFor is how long the status says that new series are refused after the
	// last one was.
	fullFor = time.Minute
	// sweepRows is how many samples go until it is looked which series have none.
	sweepRows = 50 * store.SliceRows
	// emptyWait is the wait for something to free series when nothing could.
	emptyWait = 10 * time.Second
)

// seriesWork is what bySeries is at.
type seriesWork int

const (
	noSeriesWork seriesWork = iota
	surveying               // reads all samples, to find the series that have any
	forgetting              // deletes those that have none
	sweeping                // deletes delivered samples, so that their series have none
)

// bySeries deletes series that have no samples any more: once a day, and at once
// while there is hardly room for new ones. Then, in this order, these make room:
// series without samples; those whose samples were delivered, the oldest first
// and in the tiers of bySize; those whose samples are rejected. Samples on their
// way are never given up for it: new series are refused instead.
type bySeries struct {
	work      seriesWork
	pressed   bool // hardly any room is left
	survey    store.Survey
	surveyed  bool      // it read all samples
	gone      int       // samples deleted since the last survey began
	due       time.Time // of the next survey, while not pressed
	retry     time.Time // pressed, and nothing could go: when to look for deliveries; zero: something may go
	delivered int64     // by the ledger, when nothing could go

	seriesSweep
	seriesRoom
}

// seriesSweep deletes delivered samples, so that their series have none.
type seriesSweep struct {
	tier    int // of the delivered samples, twice: first those of the oldest series, then any
	sweep   store.Sweep
	kept    []store.Span
	untilMs int64
	swept   int // samples that the sweep deleted
}

// seriesRoom is how many series there may be, and are.
type seriesRoom struct {
	limit     store.SeriesLimit
	use       store.SeriesUse
	tight     bool      // undelivered samples are given up for room: new series get less of it
	fullSince time.Time // new series are refused since; zero: they are not
	refusedAt time.Time // the last time
}

// limitSeries sets how many series the database may have. They get a quarter of
// what it may hold, and a sixteenth while undelivered samples have to go.
func (k *Keeper) limitSeries(ctx context.Context, f figures, now time.Time) error {
	s := &k.series
	if f.room.Used() < f.limit-f.limit/8 {
		s.tight = false
	}
	share := int64(k.cfg.MaxSizeMB) * miB / 4
	if s.tight {
		share /= 4
	}
	s.limit = store.SeriesLimit{Count: int64(k.cfg.MaxSeries), Bytes: share}
	k.db.LimitSeries(s.limit)
	use, err := k.db.SeriesUse(ctx)
	if err != nil {
		return err
	}
	if use.Refused != s.use.Refused {
		s.refusedAt = now
		if s.fullSince.IsZero() {
			s.fullSince = now
			k.log.Warn("no room for more series; samples of new series are counted as lost, known series continue",
				"series", use.Count, "max_series", s.limit.Count, "bytes", use.Bytes, "max_bytes", s.limit.Bytes)
		}
	} else if !s.fullSince.IsZero() && now.Sub(s.refusedAt) > fullFor {
		s.fullSince = time.Time{}
		k.log.Info("there is room for new series again", "series", use.Count)
	}
	s.use = use
	s.pressed = s.above(15, 16) || s.pressed && s.above(7, 8)
	return nil
}

// above says whether more than so many parts of what the series may take is taken.
func (s *bySeries) above(parts, of int64) bool {
	return s.use.Count*of >= s.limit.Count*parts || s.use.Bytes*of >= s.limit.Bytes*parts
}

// forgetSeries does one slice of what is due.
func (k *Keeper) forgetSeries(ctx context.Context, now time.Time) (more bool, err error) {
	s := &k.series
	switch s.work {
	case surveying:
		done, err := k.db.Survey(ctx, &s.survey)
		if done {
			s.work, s.surveyed = forgetting, true
		}
		return err == nil, err
	case forgetting:
		_, done, err := k.db.DeleteIdle(ctx, &s.survey)
		if done {
			s.work = noSeriesWork
		}
		return err == nil, err
	case sweeping:
		return true, k.sweepSeries(ctx)
	}
	switch {
	case !s.pressed && (s.gone == 0 || now.Before(s.due)):
		s.survey, s.surveyed, s.tier = store.Survey{}, false, 0 // it takes some bytes for each id
		return false, nil
	case s.gone == 0 && !s.retry.IsZero():
		return k.waitForDelivery(ctx, now)
	case s.gone > 0 || !s.surveyed:
		k.beginSurvey(now)
	default:
		return k.planSweep(ctx, now)
	}
	return true, nil
}

func (k *Keeper) beginSurvey(now time.Time) {
	s := &k.series
	s.retry = time.Time{}
	s.work, s.survey, s.surveyed, s.gone, s.due = surveying, store.Survey{}, false, 0, now.Add(min(surveyEvery, k.cfg.Retention))
}

// planSweep chooses which samples go, so that some series have none: those until
// the time at which a quarter of what the limit allows is free.
func (k *Keeper) planSweep(ctx context.Context, now time.Time) (more bool, err error) {
	s := &k.series
	if tiers := k.tiers(); s.tier < 2*len(tiers) {
		until, ok := s.survey.Oldest(s.excess())
		if s.tier%2 == 1 || !ok {
			until = math.MaxInt64 - 1 // the oldest series have samples that are on their way
		}
		if s.kept, err = k.deliveredWithin(ctx, now, tiers[s.tier/2]); err != nil {
			return false, err
		}
		s.work, s.sweep, s.untilMs, s.swept = sweeping, store.Sweep{}, until, 0
		return true, nil
	}
	s.tier = 0
	n, err := k.db.DropRejected(ctx, status.LostSeriesLimit, now)
	s.gone += n
	if n == 0 {
		// Until something is delivered nothing else can go. What the survey found is
		// old by then.
		s.retry, s.surveyed = now.Add(emptyWait), false
		ledger, _, err := k.db.Ledger(ctx)
		s.delivered = ledger.Delivered
		return false, err
	}
	return true, err
}

// waitForDelivery ends the wait for something that can go.
func (k *Keeper) waitForDelivery(ctx context.Context, now time.Time) (more bool, err error) {
	s := &k.series
	if now.Before(s.retry) {
		return false, nil
	}
	s.retry = now.Add(emptyWait)
	ledger, _, err := k.db.Ledger(ctx)
	if err != nil || ledger.Delivered == s.delivered {
		return false, err
	}
	s.retry = time.Time{}
	return true, nil
}

// excess is how many series are too many for a quarter to be free.
func (s *bySeries) excess() int {
	n := s.use.Count - s.limit.Count*3/4
	if s.use.Bytes > 0 {
		n = max(n, s.use.Count*(s.use.Bytes-s.limit.Bytes*3/4)/s.use.Bytes)
	}
	return int(max(n, 1))
}

// sweepSeries deletes a slice of the delivered samples that planSweep chose.
func (k *Keeper) sweepSeries(ctx context.Context) error {
	s := &k.series
	n, done, err := k.db.DeleteDelivered(ctx, &s.sweep, s.untilMs+1, s.kept)
	s.swept += n
	s.gone += n
	if !done && s.swept < sweepRows || err != nil {
		return err
	}
	s.work = noSeriesWork
	if s.swept == 0 {
		s.tier++
	}
	return nil
}

// forgetFirst deletes series without samples before undelivered samples are
// given up, if their series take more than a sixteenth of the room and
// enough samples went since they were looked for.
func (k *Keeper) forgetFirst(ctx context.Context, f figures, now time.Time) (more bool, err error) {
	s := &k.series
	const rowBytes = 32
	if s.work == noSeriesWork && s.use.Bytes > f.limit/16 && int64(s.gone)*rowBytes > f.limit/8 {
		k.beginSurvey(now)
	}
	if s.work == noSeriesWork {
		return false, nil
	}
	return k.forgetSeries(ctx, now)
}
