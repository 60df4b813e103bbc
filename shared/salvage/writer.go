package salvage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"github.com/taniwha3/thugshells/shared/store"
)

// A writer writes the new file. It does not sync: a file that was not completed is
// not used.
type writer struct {
	ctx  context.Context // of one run
	pool *sql.DB
	conn *sql.Conn
	rows map[*table]*sql.Stmt // each writes a row of its table
	open []io.Closer          // statements
}

// newWriter opens the new file.
func newWriter(ctx context.Context, path string) (*writer, error) {
	params := url.Values{
		"mode": {"rw"}, "_journal_mode": {"MEMORY"}, "_synchronous": {"OFF"}, "_cache_size": {"-2048"},
		"_busy_timeout": {"5000"}, "_mutex": {"no"},
	}
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: params.Encode()}
	pool, err := sql.Open("sqlite3", name.String())
	if err != nil {
		return nil, writing(err)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(writing(err), pool.Close())
	}
	return &writer{ctx: ctx, pool: pool, conn: conn, rows: map[*table]*sql.Stmt{}}, nil
}

func (w *writer) close() error {
	var err error
	for _, stmt := range w.open {
		err = errors.Join(err, stmt.Close())
	}
	return errors.Join(err, w.conn.Close(), w.pool.Close())
}

// closeLater closes a statement with the writer.
func (w *writer) closeLater(stmt io.Closer) { w.open = append(w.open, stmt) }

// transact runs a function in one transaction.
func (w *writer) transact(do func() error) error {
	if err := w.exec("BEGIN"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = w.exec("COMMIT")
	}
	if err != nil {
		if back := w.exec("ROLLBACK"); back != nil && !isFull(err) { // SQLite may have rolled back already
			return errors.Join(err, back)
		}
	}
	return err
}

func (w *writer) exec(query string, args ...any) error {
	_, err := w.conn.ExecContext(w.ctx, query, args...)
	return writing(err)
}

// put writes a row of a table, unless it violates a constraint of the table.
func (w *writer) put(t *table, r *record, rowid int64) error {
	stmt := w.rows[t]
	if stmt == nil {
		var err error
		if stmt, err = w.conn.PrepareContext(w.ctx, t.statement()); err != nil {
			return writing(err)
		}
		w.rows[t] = stmt
		w.closeLater(stmt)
	}
	_, err := stmt.ExecContext(w.ctx, t.args(r, rowid)...)
	if se, ok := errors.AsType[sqlite3.Error](err); ok &&
		(se.Code == sqlite3.ErrConstraint || se.Code == sqlite3.ErrMismatch || se.Code == sqlite3.ErrTooBig) {
		return nil
	}
	return writing(err)
}

// writing wraps an error of the new file.
func writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the new database: %w", err)
}

func isFull(err error) bool {
	se, ok := errors.AsType[sqlite3.Error](err)
	return ok && se.Code == sqlite3.ErrFull || errors.Is(err, syscall.ENOSPC)
}

// create makes the new file with all tables.
func create(ctx context.Context, path, device string) error {
	return writing(store.Create(ctx, path, store.Options{Device: device, Synchronous: "NORMAL"}))
}

// remove deletes the new file and the files that SQLite left beside it.
func remove(path string) error {
	for _, part := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
