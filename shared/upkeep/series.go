package upkeep

import (
	"context"
	"math"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// surveyEvery is how often series without samples are searched while there is
	// room for more series: a search reads all samples.
	surveyEvery = 24 * time.Hour
	// fullFor is how long after the last refused sample the status reports that new
	// series are refused.
	fullFor = time.Minute
	// sweepRows is how many samples are deleted before the next survey.
	sweepRows = 50 * store.SliceRows
	// emptyWait is how long to wait for deliveries when no series could be freed.
	emptyWait = 10 * time.Second
)

// seriesWork is what bySeries is doing.
type seriesWork int

const (
	noSeriesWork seriesWork = iota
	surveying               // reads all samples to find the series that have any
	forgetting              // deletes the series that have none
	sweeping                // deletes delivered samples, so that their series have none
)

// bySeries deletes series that have no samples any more: once a day, and at once
// while there is hardly room for new ones. In that case it also deletes delivered
// samples of the oldest series, tier by tier as bySize does, and then rejected
// samples, so that their series can be deleted. It deletes no pending sample: new
// series are refused instead.
type bySeries struct {
	work      seriesWork
	pressed   bool // there is hardly room for new series
	survey    store.Survey
	surveyed  bool      // the survey is complete
	gone      int       // samples that were deleted since the last survey began
	due       time.Time // of the next survey, while not pressed
	retry     time.Time // when to check for deliveries, as nothing else can be deleted; zero: something can
	delivered int64     // the ledger's count when nothing could be deleted

	seriesSweep
	seriesRoom
}

// seriesSweep deletes delivered samples, so that their series have none.
type seriesSweep struct {
	tier    int // of the delivered samples, twice: first those of the oldest series, then any
	sweep   store.Sweep
	kept    []store.Span
	untilMs int64
	deleted int // samples
}

// seriesRoom is how many series there may be, and are.
type seriesRoom struct {
	limit     store.SeriesLimit
	use       store.SeriesUse
	tight     bool      // undelivered samples were deleted for room: series get less of it
	fullSince time.Time // new series are refused since; zero: they are not
	refusedAt time.Time // the last time
}

// limitSeries sets the limit on series. They get a quarter of storage.max_size_mb,
// and a sixteenth while undelivered samples have to be deleted.
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

// above says whether the series take at least parts/of of their limit.
func (s *bySeries) above(parts, of int64) bool {
	return s.use.Count*of >= s.limit.Count*parts || s.use.Bytes*of >= s.limit.Bytes*parts
}

// forgetSeries does one slice of what is due for series.
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
		s.survey, s.surveyed, s.tier = store.Survey{}, false, 0 // a survey takes memory for each id
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

// planSweep chooses the samples to delete: those up to the time at which enough
// series have none for a quarter of the limit to be free.
func (k *Keeper) planSweep(ctx context.Context, now time.Time) (more bool, err error) {
	s := &k.series
	if tiers := k.tiers(); s.tier < 2*len(tiers) {
		until, ok := s.survey.Oldest(s.excess())
		if s.tier%2 == 1 || !ok {
			until = math.MaxInt64 - 1 // the oldest series have undelivered samples
		}
		if s.kept, err = k.deliveredWithin(ctx, now, tiers[s.tier/2]); err != nil {
			return false, err
		}
		s.work, s.sweep, s.untilMs, s.deleted = sweeping, store.Sweep{}, until, 0
		return true, nil
	}
	s.tier = 0
	n, err := k.db.DropRejected(ctx, status.LostSeriesLimit, now)
	s.gone += n
	if n == 0 {
		// Nothing can be deleted before something is delivered. By then the survey is
		// out of date.
		s.retry, s.surveyed = now.Add(emptyWait), false
		ledger, _, err := k.db.Ledger(ctx)
		s.delivered = ledger.Delivered
		return false, err
	}
	return true, err
}

// waitForDelivery ends the wait when samples were delivered.
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

// excess is how many series have to be deleted for a quarter of the limit to be free.
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
	s.deleted += n
	s.gone += n
	if !done && s.deleted < sweepRows || err != nil {
		return err
	}
	s.work = noSeriesWork
	if s.deleted == 0 {
		s.tier++
	}
	return nil
}

// forgetFirst deletes series without samples before undelivered samples are deleted,
// if series take more than a sixteenth of the room and enough samples were deleted
// since the last survey.
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
