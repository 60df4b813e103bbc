package store

import (
	"context"
	"database/sql"
	"fmt"
)

// PageUse is how a database file is filled.
type PageUse struct {
	PageSize   int64
	Pages      int64
	FreePages  int64 // hold nothing; the next rows go there
	Returnable bool  // ReturnPages can give free pages back to the filesystem
}

// Used is the bytes of the pages that hold something.
func (r PageUse) Used() int64 { return (r.Pages - r.FreePages) * r.PageSize }

// PageUse looks at the pages, those in the log included.
func (r *Reader) PageUse(ctx context.Context) (room PageUse, err error) {
	err = r.readTx(ctx, func(tx *sql.Tx) error {
		var mode int
		for _, p := range []struct {
			name string
			into any
		}{
			{"page_size", &room.PageSize},
			{"page_count", &room.Pages},
			{"freelist_count", &room.FreePages},
			{"auto_vacuum", &mode},
		} {
			if err := tx.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(p.into); err != nil {
				return fmt.Errorf("read %s: %w", p.name, err)
			}
		}
		room.Returnable = mode != 0
		return nil
	})
	return room, err
}

// ReturnPages moves what lies at the end of the file into up to n free pages and
// cuts the file off behind it, at the next checkpoint. It returns how many pages
// went. Each costs the log two or three.
func (db *DB) ReturnPages(ctx context.Context, n int) (returned int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		// The statement does one page for each row that is read of it.
		rows, err := tx.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", n))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			returned++
		}
		return rows.Err()
	})
	if err != nil {
		return 0, fmt.Errorf("return free pages: %w", err)
	}
	return returned, nil
}
