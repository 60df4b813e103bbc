package ship

import (
	"context"
	"fmt"
	"time"

	"github.com/taniwha3/thugshells/shared/metric"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// A report is the shipper's status row and its self-metrics.
type report struct {
	component   *status.Component
	detail      status.Shipper
	self        selfMetrics
	overcounted int       // samples that were counted as delivered and not marked
	recorded    time.Time // when the status row was written last, zero: not yet
	sums        sums      // of rounds, for the log
}

// record writes the status row and, when they are due, the self-metrics, where no
// delivery wrote them.
func (s *Shipper) record(ctx context.Context, fault error) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	if fault != nil {
		s.report.component.Fail(now, fault, 1)
	} else {
		s.report.component.Beat(now)
	}
	u := s.update(now)
	if _, err := s.db.Record(context.WithoutCancel(ctx), u); err != nil {
		return fmt.Errorf("write the shipper's status: %w", err)
	}
	s.report.self.wrote(u.Counters)
	s.report.recorded = time.Now()
	return nil
}

// update is the part of every transaction that is about the shipper itself.
func (s *Shipper) update(now status.Moment) store.Update {
	s.report.detail.ChunkSamples = s.chunks.limit
	s.report.detail.Settling = s.replay.Settling
	s.report.component.SetDetail(s.report.detail)
	u := store.Update{Status: []status.Row{s.report.component.Row()}}
	if own := s.samples(now.Wall); len(own) > 0 {
		u.Groups = []store.Group{{Priority: status.SelfPriority, Self: true, Samples: own}}
	}
	u.Counters = s.report.self.changed(append(s.pacing.budget.counts(), s.search.budget.counts()...)) // including those that the self-metrics changed
	return u
}

// samples are the self-metrics that are due.
func (s *Shipper) samples(now time.Time) []metric.Sample {
	own := s.report.self.Due(now)
	if len(own) == 0 {
		return nil
	}
	return append(own, s.skewSample(now.UnixMilli())...)
}

// Stop records that the shipper ended on purpose.
func (s *Shipper) Stop(ctx context.Context) error {
	now, err := store.Now()
	if err != nil {
		return err
	}
	s.report.component.Stop(now)
	s.clocks.check.component.Stop(now)
	s.report.self.Postpone(now.Wall)
	u := s.update(now)
	u.Status = append(u.Status, s.clocks.check.component.Row())
	_, err = s.db.Record(ctx, u)
	return err
}
