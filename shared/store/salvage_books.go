package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

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
func (s *salvage) closeBooks(ctx context.Context, result *Salvaged, size int64) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err = closeBooks(ctx, tx, result, size); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func closeBooks(ctx context.Context, tx *sql.Tx, result *Salvaged, size int64) error {
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
	return addLoss(ctx, tx, status.LostDamaged, int(lost), time.Now())
}

// removeAll removes a file of our own making and its companions.
func removeAll(path string) error {
	for _, part := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an unfinished file: %w", err)
		}
	}
	return nil
}

func copyFile(from *os.File, to string) (err error) {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
