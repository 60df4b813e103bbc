package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// A Repair is what the collector writes into a database that it has repaired.
type Repair struct {
	Left   int64        // samples in a file that was replaced, which are counted as lost
	Status []status.Row // for health

	// Samples that the ledger counted before the database went back to an earlier
	// state: delivered ones, and lost ones.
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

// RequestRepair requests that the collector checks the file, if met is an error that
// reports damage.
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

// RequestedRepair returns the error for which another process requested a repair;
// "": there is no request.
func (db *DB) RequestedRepair(ctx context.Context) (met string, err error) {
	err = db.write.QueryRowContext(ctx, "SELECT error FROM status WHERE component = ?", status.RepairRow).Scan(&met)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return met, db.guard.observe(err)
}

// DropRepairRequest deletes the request for a repair.
func (db *DB) DropRepairRequest(ctx context.Context) error {
	return db.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM status WHERE component = ?", status.RepairRow)
		return err
	})
}
