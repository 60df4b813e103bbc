package store

import (
	"context"
	"errors"
	"math"
)

// Audit counts the rows in every state and compares them with the ledger, as
// storetest.Audit does for other packages.
func (r *Reader) Audit(ctx context.Context) (Ledger, error) {
	c, err := r.Count(ctx)
	if err != nil {
		return Ledger{}, err
	}
	var faults []error
	for _, f := range c.Faults() {
		faults = append(faults, errors.New(f))
	}
	return c.Ledger, errors.Join(faults...)
}

// Newest returns up to limit pending rows, the newest first.
func (r *Reader) Newest(ctx context.Context, limit int) ([]Row, error) {
	return r.NewestSince(ctx, nil, math.MinInt64, Except{}, limit)
}
