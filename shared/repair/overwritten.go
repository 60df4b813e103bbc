package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/store"
)

// checkOverwritten looks at all of a file that something else wrote into, by
// connections that remember nothing of it. It may be as it was: sqlite3 moves the
// WAL of a database into which it wrote, and touch changes nothing. If not it is
// damaged, as other processes remember pages of what it was.
func (o *Owner) checkOverwritten(ctx context.Context) error {
	if o.db.WALShrank() { // other processes have an index of the one that was there
		return fmt.Errorf("%w: %w, and its write-ahead log was cut", store.ErrDamaged, store.ErrOverwritten)
	}
	one, err := openFile(ctx, o.db)
	if err == nil {
		err = errors.Join(one.CheckContents(ctx, o.history.last), one.Close())
	}
	if err == nil {
		o.log.Warn("something else wrote into the database file; the full check found it as it was", "database", o.path)
	} else if isDamage(err) {
		err = fmt.Errorf("%w: %w (%w)", store.ErrDamaged, store.ErrOverwritten, err)
	}
	return err
}
