package store

import (
	"context"
	"database/sql/driver"

	"github.com/mattn/go-sqlite3"
)

// A conn is a connection of go-sqlite3 that runs each statement in the caller's
// goroutine. With a context that can end, go-sqlite3 starts a goroutine for each
// statement and each row: two thread switches for 10 µs of work. Nearly all
// statements are short; the others use interruptible.
type conn struct{ *sqlite3.SQLiteConn }

type stmt struct{ *sqlite3.SQLiteStmt }

type interruptibleKey struct{}

// interruptible returns a context for a long statement, which ends with ctx.
func interruptible(ctx context.Context) context.Context {
	return context.WithValue(ctx, interruptibleKey{}, true)
}

func here(ctx context.Context) context.Context {
	if ctx.Value(interruptibleKey{}) != nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.SQLiteConn.ExecContext(here(ctx), query, args)
}

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.SQLiteConn.QueryContext(here(ctx), query, args)
}

func (c conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.SQLiteConn.BeginTx(here(ctx), opts)
}

func (c conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.SQLiteConn.PrepareContext(here(ctx), query)
	if err != nil {
		return nil, err
	}
	return stmt{s.(*sqlite3.SQLiteStmt)}, nil
}

func (s stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.SQLiteStmt.ExecContext(here(ctx), args)
}

func (s stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.SQLiteStmt.QueryContext(here(ctx), args)
}
