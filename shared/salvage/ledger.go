package salvage

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// closeLedger makes the ledger of the new file agree with its rows: samples that
// the old ledger counted and that were not found are lost. size is that of the old
// file and its WAL.
func (s *salvage) closeLedger(size int64) error {
	if err := s.matchReasons(); err != nil {
		return err
	}
	states, err := s.countStates()
	if err != nil {
		return err
	}
	captured, sure, err := s.entry("captured")
	if err != nil {
		return err
	}
	delivered, both, err := s.entry("delivered")
	if err != nil {
		return err
	}
	var losses int64
	if err := s.into.conn.QueryRowContext(s.ctx, "SELECT total(count) FROM main.losses").Scan(&losses); err != nil {
		return writing(err)
	}
	delivered = max(delivered, states[store.Delivered])
	here := delivered + states[store.Pending] + states[store.Held] + states[store.Rejected] + states[store.Local] + losses
	lost := captured - here
	// A row takes more than eight bytes. If more are lost than the file had room
	// for, or fewer than none, the ledger itself is damaged.
	plausible := sure && both && captured > 0 && lost >= 0 && lost <= size/8
	if !plausible {
		lost = 0
	}
	// A ledger from before the damage of the WAL does not count all samples.
	broken := s.pages.wal.broken && s.found.ledgerAt <= s.pages.wal.lastBroken
	if plausible && !broken && s.report.Schema == store.SchemaVersion {
		s.report.Lost = &lost
	}
	for _, entry := range []struct {
		name  string
		count int64
	}{
		{"captured", here + lost},
		{"delivered", delivered},
		{"held", states[store.Held]},
		{"local", states[store.Local]},
		{"rejected", states[store.Rejected]},
	} {
		if err := s.into.exec("INSERT OR REPLACE INTO main.ledger (name, count) VALUES (?, ?)", entry.name, entry.count); err != nil {
			return err
		}
	}
	return s.note(lost)
}

// matchReasons makes the rejected samples and the table of reasons agree: of a
// sample and its reason, which lie in two pages, one may be lost.
func (s *salvage) matchReasons() error {
	err := s.into.exec(`DELETE FROM main.rejected WHERE NOT EXISTS (SELECT 1 FROM main.samples AS s
		WHERE s.timestamp_ms = rejected.timestamp_ms AND s.series_id = rejected.series_id AND s.uploaded = ?)`, store.Rejected)
	if err != nil {
		return err
	}
	return s.into.exec(`INSERT OR IGNORE INTO main.rejected (timestamp_ms, series_id, rejected_ms, http_status, reason, server_words)
		SELECT timestamp_ms, series_id, ?, 0, 'the reason was in a damaged page', '' FROM main.samples WHERE uploaded = ?`,
		s.report.At.UnixMilli(), store.Rejected)
}

// note writes how many samples were lost, and the row that reports the damage.
func (s *salvage) note(lost int64) error {
	if lost > 0 {
		err := s.into.exec(`INSERT INTO main.losses (reason, count, first_ms, last_ms) VALUES (?1, ?2, ?3, ?3)
			ON CONFLICT DO UPDATE SET count = count + ?2, last_ms = ?3`, status.LostDamaged, lost, s.report.At.UnixMilli())
		if err != nil {
			return err
		}
	}
	if s.known.Note == nil {
		return nil
	}
	n := s.known.Note(s.report)
	return s.into.exec("INSERT OR REPLACE INTO main.status VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		n.Component, n.Daemon, n.State, n.PID, n.Version, n.BootID, n.StartedMs, n.IntervalMs, n.HeartbeatMs, n.HeartbeatBootMs,
		n.SuccessMs, n.SuccessBootMs, n.Error, n.ErrorMs, n.FailingSinceMs, n.Succeeded, n.Failed, n.Detail)
}

// entry returns an entry of the ledger; ok is false if there is none that makes
// sense.
func (s *salvage) entry(name string) (count int64, ok bool, err error) {
	err = s.into.conn.QueryRowContext(s.ctx, "SELECT count FROM main.ledger WHERE name = ? AND count >= 0", name).Scan(&count)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return count, err == nil, writing(err)
}

// countStates counts the samples of the new file by their state: as they were
// written, or if some were copies of others by reading them.
func (s *salvage) countStates() (states [store.Local + 1]int64, err error) {
	if err := s.into.conn.QueryRowContext(s.ctx, "SELECT count(*) FROM main.samples").Scan(&s.report.Samples); err != nil {
		return states, writing(err)
	}
	written := int64(0)
	for _, n := range s.written {
		written += n
	}
	if written == s.report.Samples {
		return s.written, nil
	}
	for state := range states {
		err := s.into.conn.QueryRowContext(s.ctx, "SELECT count(*) FROM main.samples WHERE uploaded = "+fmt.Sprint(state)).Scan(&states[state])
		if err != nil {
			return states, writing(err)
		}
	}
	return states, nil
}
