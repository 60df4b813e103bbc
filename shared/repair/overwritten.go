package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/store"
)

// checkOverwritten checks all of a file that another program wrote to, through new
// connections with empty caches. The contents may be the same as before: sqlite3
// runs a checkpoint after it wrote to a database, and touch changes only the time.
// If they are not, the file counts as damaged, because other processes have pages of
// the old contents in their caches.
func (o *Owner) checkOverwritten(ctx context.Context) error {
	one, err := openFile(ctx, o.db)
	if err == nil {
		err = errors.Join(one.CheckContents(ctx, o.history.last), one.Close())
	}
	if err == nil {
		o.log.Warn("another program wrote to the database file; the full check found its contents unchanged", "database", o.path)
	} else if isDamage(err) {
		err = fmt.Errorf("%w: %w (%w)", store.ErrDamaged, store.ErrOverwritten, err)
	}
	return err
}
