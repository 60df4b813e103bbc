package store

import (
	"context"
	"database/sql"
	"fmt"
)

// PageUse is how the pages of a database file are used.
type PageUse struct {
	PageSize   int64
	Pages      int64
	FreePages  int64 // unused; the next rows are stored in them
	Returnable bool  // ReturnPages can return free pages to the filesystem
}

// Used is the size of the used pages in bytes.
func (r PageUse) Used() int64 { return (r.Pages - r.FreePages) * r.PageSize }

// PageUse reads how the pages are used, including those in the WAL.
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

// ReturnPages moves pages from the end of the file into up to n free ones, so that
// the next checkpoint makes the file shorter. It returns how many pages were freed.
// Each costs two or three pages in the WAL.
func (db *DB) ReturnPages(ctx context.Context, n int) (returned int, err error) {
	err = db.tx(ctx, func(tx *sql.Tx) error {
		// The statement frees one page for each row that is read.
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
