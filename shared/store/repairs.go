package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// A Repair is what the process that repaired a database writes into it.
type Repair struct {
	Left   int64        // samples that stayed in a file that was replaced; they are counted as lost
	Status []status.Row // what health is told

	// What an earlier state of the database had captured beside what this one has:
	// delivered, and lost.
	BackDelivered, BackLost int64
}

// RecordRepair writes a repair in one transaction.
func (db *DB) RecordRepair(ctx context.Context, r Repair) error {
	if r.Left <= 0 && r.BackDelivered+r.BackLost == 0 && len(r.Status) == 0 {
		return nil
	}
	return db.tx(ctx, func(tx *sql.Tx) error {
		if r.Left > 0 {
			if err := addToLedger(ctx, tx, map[string]int{"captured": int(r.Left)}); err != nil {
				return err
			}
			if err := addLoss(ctx, tx, status.LostReplaced, int(r.Left), time.Now()); err != nil {
				return err
			}
		}
		back := map[string]int{"captured": int(r.BackDelivered + r.BackLost), "delivered": int(r.BackDelivered)}
		if err := addToLedger(ctx, tx, back); err != nil {
			return err
		}
		if err := addLoss(ctx, tx, status.LostWentBack, int(r.BackLost), time.Now()); err != nil {
			return err
		}
		return writeStatus(ctx, tx, r.Status)
	})
}

// RequestRepair asks the process that repairs to look at the file: err, if it
// spoke of damage, was met in it.
func (db *DB) RequestRepair(ctx context.Context, daemon string, met error) error {
	if FaultOf(met) != FaultDamaged {
		return nil
	}
	now := time.Now().UnixMilli()
	return db.tx(ctx, func(tx *sql.Tx) error {
		text := strings.ToValidUTF8(met.Error(), "")
		return writeStatus(ctx, tx, []status.Row{{
			Component: status.RepairRow, Daemon: daemon, State: status.Stopped, StartedMs: now,
			Error: text[:min(len(text), MaxWords)], ErrorMs: now, FailingSinceMs: now, SuccessBootMs: -1,
		}})
	})
}

// RequestedRepair returns what another process met, "" for nothing.
func (db *DB) RequestedRepair(ctx context.Context) (met string, err error) {
	err = db.write.QueryRowContext(ctx, "SELECT error FROM status WHERE component = ?", status.RepairRow).Scan(&met)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return met, db.guard.observe(err)
}

// DropRepairRequest removes a request that was followed.
func (db *DB) DropRepairRequest(ctx context.Context) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM status WHERE component = ?", status.RepairRow)
		return err
	})
}
