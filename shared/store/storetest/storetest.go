// Package storetest is what tests of other packages ask of a database.
package storetest

import (
	"context"
	"errors"
	"math"

	"github.com/taniwha3/thugshells/shared/store"
)

// A Database is a store.DB or a store.Reader.
type Database interface {
	Count(ctx context.Context) (store.Census, error)
	NewestSince(ctx context.Context, into []store.Row, sinceMs int64, except store.Except, limit int) ([]store.Row, error)
}

// Audit counts the rows in every state and compares them with the ledger. The
// error names all that differs. It reads every sample.
func Audit(ctx context.Context, db Database) (store.Ledger, error) {
	c, err := db.Count(ctx)
	if err != nil {
		return store.Ledger{}, err
	}
	var faults []error
	for _, f := range c.Faults() {
		faults = append(faults, errors.New(f))
	}
	return c.Ledger, errors.Join(faults...)
}

// Newest returns up to limit pending rows, the newest first.
func Newest(ctx context.Context, db Database, limit int) ([]store.Row, error) {
	return db.NewestSince(ctx, nil, math.MinInt64, store.Except{}, limit)
}
