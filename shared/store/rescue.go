package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// rescueTries bounds how often a rescue is tried again that fails for another
// reason than a full disk.
const rescueTries = 6

// rescue saves what only the open descriptors still reach, as the path leads
// elsewhere, and notes how many samples stay behind. While there is no room, or
// somebody is in the way, the descriptors stay open and it is tried again.
func (db *DB) rescue(ctx context.Context, why error) error {
	if !db.opts.Owner || db.rescued || db.gate.file == nil {
		return nil
	}
	gone, logGone := errors.Is(why, errGone), errors.Is(why, errLogGone)
	if !gone && !logGone && !errors.Is(why, errReplaced) {
		db.rescued = true
		return nil
	}
	db.gate.close(fmt.Errorf("%w (%w)", errMending, why))
	db.swap.Lock() // nothing may be written between this and the closing
	defer db.swap.Unlock()
	l, _, unknown := (&Reader{read: db.write}).Ledger(ctx) // its connection leads to the old file
	var err error
	switch {
	case gone:
		if err = db.writeAnew(ctx); err == nil {
			db.inRescued = max(0, l.Pending) + l.Held
		}
	default: // wherever a replaced file is now, it is whole
		err = db.emptyLog(ctx)
	}
	if err != nil && (isFull(err) || ctx.Err() != nil || db.rescues < rescueTries && (isBusy(err) || cannotWrite(err) || errors.Is(err, errLogInUse))) {
		db.rescues++
		return err
	}
	if err != nil {
		db.log().Error("not all that the open files hold can be saved; what was pending is counted as lost", "error", err)
	}
	if err != nil || !gone && !logGone {
		if unknown != nil {
			db.log().Error("how many samples stay behind in the old database is not known", "error", unknown)
		}
		db.leftBehind += max(0, l.Pending) + l.Held
		db.partBehind = logGone // the rest is in the file
	}
	db.rescued, db.rescues = true, 0
	return nil
}

// writeAnew writes the open file, which has no name any more, to where adopt
// finds it.
func (db *DB) writeAnew(ctx context.Context) error {
	part, whole := db.path+unfinishedSuffix, db.path+salvagedSuffix
	if err := removeAll(part); err != nil {
		return err
	}
	if _, err := db.write.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return errors.Join(fmt.Errorf("write the deleted database anew as %s: %w", part, err), removeAll(part))
	}
	return finish(part, whole)
}

// errLogInUse is a log that nobody can empty for now.
var errLogInUse = errors.New("a reader keeps the write-ahead log from being emptied into its database")

// emptyLog moves the open log into the open database.
func (db *DB) emptyLog(ctx context.Context) (err error) {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := setBusyTimeout(ctx, conn, checkpointWait); err != nil {
		return err
	}
	var busy, frames, moved int
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("empty the write-ahead log into its database: %w", err)
	}
	if busy != 0 {
		return errLogInUse
	}
	return nil
}

// partFromLog keeps what is or will be in place of the file that was open apart
// from that one's log: SQLite would write the pages of one into the other. It is
// done once: what is made later may get the numbers of what is gone.
func (db *DB) partFromLog() error {
	if db.gate.file == nil || db.parted {
		return nil
	}
	now, err := os.Stat(db.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil //nolint:nilerr // whoever looks at it next says so
	}
	if err == nil && os.SameFile(now, db.gate.file) {
		return nil
	}
	log, err := os.Stat(db.path + "-wal")
	if err != nil || !os.SameFile(log, db.gate.log) {
		db.parted = true
		return nil //nolint:nilerr // no log is no wrong log
	}
	if !db.opts.Owner {
		return errors.New("the write-ahead log belongs to the file that was there before; the collector sets it aside")
	}
	db.parted = true
	return setAside(db.path, asideName(db.path, time.Now()), "-wal", "-shm")
}

// isBack says whether a file that was replaced is at the path again.
func (db *DB) isBack(ctx context.Context, one *DB) (bool, error) {
	now, err := os.Stat(db.path)
	if err != nil || !errors.Is(db.cause, errReplaced) || !os.SameFile(now, db.gate.file) {
		return false, err
	}
	if db.begun == nil {
		return true, nil
	}
	var ours bool // another file may have got the number of the old one
	err = one.write.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?)", db.begun.ID).Scan(&ours)
	return ours, err
}

// tell puts into the database what became of those before it: samples that were
// left behind, a damaged log, and damage of an earlier schema.
func (db *DB) tell(ctx context.Context, one *DB) error {
	back, err := db.isBack(ctx, one)
	if err != nil {
		return err
	}
	left := db.leftBehind
	if back {
		left = 0
	}
	if db.partBehind {
		l, _, err := one.Ledger(ctx)
		if err != nil {
			return err
		}
		left -= max(0, l.Pending) + l.Held
	}
	if left > 0 {
		err := one.tx(ctx, func(tx *sql.Tx) error {
			if err := addToLedger(ctx, tx, map[string]int{"captured": int(left)}); err != nil {
				return err
			}
			return addLoss(ctx, tx, status.LostReplaced, int(left), time.Now())
		})
		if err != nil {
			return err
		}
	}
	db.leftBehind, db.partBehind = 0, false
	if db.owed != nil {
		if err := one.tx(ctx, func(tx *sql.Tx) error { return putDamage(ctx, tx, *db.owed) }); err != nil {
			return err
		}
		db.owed = nil
	}
	if db.damagedLog == "" {
		return nil
	}
	if err := one.noteDamagedLog(ctx, db.damagedLog); err != nil {
		return err
	}
	db.damagedLog = ""
	// What is behind the damage would be found again at the next start.
	if _, err := one.Checkpoint(ctx, 0); err != nil {
		return err
	}
	return nil
}
