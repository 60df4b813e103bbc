package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// rescueTries bounds the retries of a rescue, except while the disk is full.
const rescueTries = 6

// rescueOpenFile saves the rows of a file that was deleted or replaced, through the
// open descriptors, and counts the samples that stay in it. While there is no room,
// or another process prevents it, the descriptors stay open for the next try.
func (o *Owner) rescueOpenFile(ctx context.Context) error {
	if o.reopening.rescued || !o.db.Opened() {
		return nil
	}
	deleted, walDeleted := errors.Is(o.reopening.cause, store.ErrDeleted), errors.Is(o.reopening.cause, store.ErrWALDeleted)
	if !deleted && !walDeleted && !errors.Is(o.reopening.cause, store.ErrReplaced) {
		o.reopening.rescued = true
		return nil
	}
	open := o.db.Halt(o.reopening.cause) // what is written after the rescue would be lost
	defer open.Release()
	l, unknown := open.Ledger(ctx)
	var err error
	if deleted {
		if err = o.rewriteDeleted(ctx, open); err == nil {
			o.behind.rescued = undelivered(l)
		}
	} else { // a replaced file has another name now, and is still complete
		err = open.Checkpoint(ctx)
	}
	if o.rescueAgain(ctx, err) {
		o.tries.rescues++
		return err
	}
	if err != nil {
		o.log.Error("the deleted database could not be rescued completely; its pending samples are counted as lost", "error", err)
	}
	if err != nil || !deleted && !walDeleted {
		if unknown != nil {
			o.log.Error("the number of samples left in the old database is unknown", "error", unknown)
		}
		o.behind.pending += undelivered(l)
		o.behind.partly = walDeleted // the other samples are in the file
	}
	o.reopening.rescued, o.tries.rescues = true, 0
	return nil
}

// rescueAgain says whether a failed rescue may succeed later.
func (o *Owner) rescueAgain(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	if store.IsFull(err) || ctx.Err() != nil {
		return true
	}
	return o.tries.rescues < rescueTries && (store.IsBusy(err) || store.CannotWrite(err) || errors.Is(err, store.ErrWALInUse))
}

// undelivered is how many samples of a ledger are not delivered and may still be.
func undelivered(l store.Ledger) int64 { return max(0, l.Pending) + l.Held }

// rewriteDeleted writes the open file, which has no name any more, to the place
// where installSalvaged finds it.
func (o *Owner) rewriteDeleted(ctx context.Context, open store.Halted) error {
	part, whole := o.path+unfinishedSuffix, o.path+salvagedSuffix
	if err := removeAll(part); err != nil {
		return err
	}
	if err := open.CopyTo(ctx, part); err != nil {
		return errors.Join(fmt.Errorf("rescue the deleted database: %w", err), removeAll(part))
	}
	return syncAndRename(part, whole)
}

// walOfOldFile says whether the WAL at the path belongs to a file that was open and
// is no longer at the path: SQLite would write its pages into the other file.
func walOfOldFile(db *store.DB) bool {
	file, wal := db.Files()
	if file == nil || wal == nil {
		return false
	}
	now, err := os.Stat(db.Path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && os.SameFile(now, file) {
		return false // opening it fails with the error
	}
	at, err := os.Stat(db.Path() + "-wal")
	if err == nil && os.SameFile(at, wal) {
		return true
	}
	db.ForgetWAL()
	return false
}

// detachOldWAL renames the WAL of the file that was open before, so that it is not
// used with the file that is at the path now.
func (o *Owner) detachOldWAL() error {
	if !walOfOldFile(o.db) {
		return nil
	}
	o.db.ForgetWAL()
	return keepDamaged(o.path, keptName(o.path, time.Now()), "-wal", "-shm")
}

// sameFileReturned says whether the file that was replaced is at the path again.
func (o *Owner) sameFileReturned(ctx context.Context, one *store.DB) (bool, error) {
	now, err := os.Stat(o.path)
	file, _ := o.db.Files()
	if err != nil || !errors.Is(o.reopening.cause, store.ErrReplaced) || !os.SameFile(now, file) {
		return false, err
	}
	id := o.db.SessionID()
	if id == "" {
		return true, nil
	}
	return one.HasSession(ctx, id) // another file may have the inode number of the old one
}

// replaced says whether another file was put in place of the open one. Its ledger
// does not continue that of the old file.
func (o *Owner) replaced() bool { return errors.Is(o.reopening.cause, store.ErrReplaced) }

// record writes into the new file what happened before: samples that stayed in a
// replaced file, a damaged WAL, an earlier state.
func (o *Owner) record(ctx context.Context, one *store.DB) error {
	returned, err := o.sameFileReturned(ctx, one)
	if err != nil {
		return err
	}
	var r store.Repair
	if !returned {
		r.Left = o.behind.pending
	}
	if o.behind.partly {
		l, _, err := one.Ledger(ctx)
		if err != nil {
			return err
		}
		r.Left -= undelivered(l)
	}
	if o.wal.unsaid != "" {
		r.Status = append(r.Status, damageRow(o.wal.unsaid, status.Damage{DamagedMs: time.Now().UnixMilli()}))
	}
	if o.behind.pending == 0 && !o.replaced() {
		if err := o.compare(ctx, one, &r); err != nil {
			return err
		}
	}
	if err := one.RecordRepair(ctx, r); err != nil {
		return err
	}
	o.behind.pending, o.behind.partly = 0, false
	if err := o.accept(ctx, one); err != nil {
		return err
	}
	if o.wal.unsaid == "" {
		return nil
	}
	o.wal.unsaid = ""
	// Empty the WAL: otherwise the next start would find the same damage again.
	_, err = one.Checkpoint(ctx, 0)
	return err
}
