package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// A damage is what a salvage found; its first part is left in the status row.
type damage struct {
	status.Damage
	Cause   string
	skipped int  // places in the file that could not be read
	older   bool // of an earlier schema: the row about it is still to be written
}

func (d damage) lostText() string {
	if d.Lost == nil {
		return "unknown"
	}
	return fmt.Sprint(*d.Lost)
}

func (d damage) row() status.Row {
	text := fmt.Sprintf("the database was damaged (%s); %d samples were salvaged, lost: %s; the damaged file is kept as %s", d.Cause, d.Salvaged, d.lostText(), d.Kept)
	return status.Row{
		Component: status.DamageRow, Daemon: status.StorageRow, State: status.Stopped, StartedMs: d.DamagedMs,
		Error: text[:min(len(text), maxWords)], ErrorMs: d.DamagedMs, SuccessBootMs: -1, Detail: status.Text(d.Damage),
	}
}

// sizeOf is what a file and its log have together.
func sizeOf(path string) (size int64) {
	for _, part := range []string{"", "-wal"} {
		if info, err := os.Stat(path + part); err == nil {
			size += info.Size()
		}
	}
	return size
}

// closeBooks makes the ledger of the new file agree with its rows: what the old
// one knew of and is not here is lost.
func (s *salvage) closeBooks(ctx context.Context, result *damage, size int64) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = closeBooks(ctx, tx, result, size)
	if err == nil {
		err = putDamage(ctx, tx, *result)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func closeBooks(ctx context.Context, tx *sql.Tx, result *damage, size int64) error {
	rows, err := countStates(ctx, tx)
	if err != nil {
		return err
	}
	l, _, err := ledger(ctx, tx)
	if err != nil {
		return err
	}
	var entries int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM main.ledger WHERE name IN ('captured', 'delivered') AND count >= 0").Scan(&entries); err != nil {
		return err
	}
	delivered := max(l.Delivered, rows[Delivered])
	here := delivered + rows[Pending] + rows[Held] + rows[Rejected] + rows[Local] + l.Lost
	lost := l.Captured - here
	// Eight bytes are less than any row takes: more rows than that cannot have
	// been in the file, and the ledger itself is what is damaged.
	known := entries == 2 && l.Captured > 0 && lost <= size/8
	if !known || lost < 0 {
		lost = 0
	}
	for name, count := range map[string]int64{
		"captured": here + lost, "delivered": delivered, "held": rows[Held], "local": rows[Local], "rejected": rows[Rejected],
	} {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO main.ledger VALUES (?, ?)", name, count); err != nil {
			return err
		}
	}
	if known {
		result.Lost = &lost
	}
	return addLoss(ctx, tx, status.LostDamaged, int(lost), time.UnixMilli(result.DamagedMs))
}

func putDamage(ctx context.Context, tx *sql.Tx, result damage) error {
	return putStatus(ctx, tx, []status.Row{result.row()})
}
