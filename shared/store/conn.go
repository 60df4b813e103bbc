package store

import (
	"context"
	"database/sql/driver"

	"github.com/mattn/go-sqlite3"
)

// A conn is a connection of go-sqlite3 that runs each statement where it is
// called. With a context that can end, go-sqlite3 hands each statement, and each
// row of an answer, to a goroutine of its own: two thread switches for what
// takes 10 µs. Statements are short here; those that are not run under
// interruptible.
type conn struct{ *sqlite3.SQLiteConn }

type stmt struct{ *sqlite3.SQLiteStmt }

type interruptibleKey struct{}

// interruptible is ctx for a statement that reads much: it ends with ctx.
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
