// Package repair keeps the database usable: it opens the file at the path, and saves
// the rows of a file that was deleted, replaced or damaged into a sound file at the
// same path.
//
// Only the collector repairs, in a loop of its own: start at Owner's Step. The
// shipper opens the database again after a repair: see Reopen.
package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// checkEvery is how soon Step has to be called again while the database has no
	// fault. The collector also calls it after each third round.
	checkEvery = time.Minute
	// retryEvery is how soon Step has to be called again after it failed.
	retryEvery = 5 * time.Second
	// requestEvery is how often the requests of other processes are read at most.
	requestEvery = 10 * time.Second
	// salvageTries bounds the salvages until the new file is found sound. The last
	// one makes an empty file.
	salvageTries = 2
	// salvageLimit bounds the time of one salvage. The samples that it does not reach
	// are the oldest.
	salvageLimit = 2 * time.Minute
	// keepFree is what a salvage leaves free on the filesystem, for collecting.
	keepFree = 8 << 20
)

// An Owner opens and repairs one database.
type Owner struct {
	db   *store.DB
	path string
	log  *slog.Logger

	mu        sync.Mutex // guards what follows
	reopening reopening
	tries     tries
	behind    behind
	wal       damagedWAL
	history   history
	mount     string // mount point of the open database's filesystem; "": unknown
	due       struct{ ballast, request time.Time }
	fstab     string // path of the system's table of filesystems

	keepFree int64                                        // bytes the salvage leaves free on the filesystem
	readAll  func(ctx context.Context, path string) error // reads a database and its WAL from the device
}

// reopening is the progress of opening the database again.
type reopening struct {
	cause     error // why it is opened again; nil: it is not
	logged    bool  // it was logged
	rescued   bool  // the open descriptors of the previous file are no longer needed
	installed bool  // a salvaged file is at the path
	// pagesOnly: the file was salvaged without its ledger, and its rows are of the
	// last moment, not of an earlier one.
	pagesOnly bool
}

// damagedWAL is what was done about a damaged WAL.
type damagedWAL struct {
	kept   string // header of the one that was kept last
	unsaid string // text of the damage, until it is recorded for health; "": none
}

// tries counts attempts that failed. Each count is set to 0 when the database is
// open and sound.
type tries struct {
	salvages   int // salvaged files that were not sound
	unreadable int // checks in a row of a file that the device could not read
	cleared    int // errors that reported damage before a full check that passed
	rescues    int // failed rescues in a row
}

// behind counts the samples in files that are no longer used, until they are
// counted as lost.
type behind struct {
	pending int64 // undelivered samples in a file that was replaced
	partly  bool  // some of those are also in the new file
	rescued int64 // undelivered samples in the file that was rescued
}

// New returns the owner of db, which is not open before the first Step.
func New(db *store.DB, log *slog.Logger) *Owner {
	return &Owner{db: db, path: db.Path(), log: log, keepFree: keepFree, readAll: readAll, fstab: "/etc/fstab"}
}

// Refused says whether an error of Step or Reopen is permanent: the file belongs to
// another or a newer program and is left untouched.
func Refused(err error) bool {
	return errors.Is(err, store.ErrNewerSchema) || errors.Is(err, store.ErrForeign) || errors.Is(err, errNotOurs) || errors.Is(err, errNoPlace)
}

// Step opens the database if it is not open or has a fault. A damaged file is kept
// under another name, and its readable rows are copied into a new one; a file that
// was deleted while it was open is written again from the open descriptors. All
// methods of the database fail meanwhile. A step may take as long as copying the
// file; after an error the next one continues.
func (o *Owner) Step(ctx context.Context) (next time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observe(ctx)
	if err = o.reopen(ctx); err != nil {
		next, err = retryEvery, fmt.Errorf("open the database: %w", err)
	} else {
		next = checkEvery
	}
	if o.db.RanFull() || store.IsFull(err) {
		o.releaseBallast()
	} else if err == nil {
		o.remember()
		o.KeepBallast(time.Now())
		o.keepWitness(time.Now())
	}
	return next, err
}

// observe checks the files and reads the requests of other processes, for Fault.
func (o *Owner) observe(ctx context.Context) {
	if o.db.Fault() != nil {
		return
	}
	_ = o.db.CheckFiles(ctx) // Fault returns the error
	if time.Since(o.due.request) < requestEvery {
		return
	}
	o.due.request = time.Now()
	if met, err := o.db.RequestedRepair(ctx); err == nil && met != "" {
		_ = o.db.Observe(fmt.Errorf("%w: another process reported it: %s", store.ErrDamaged, met))
	}
}

// reopen opens the database if it has a fault.
func (o *Owner) reopen(ctx context.Context) error {
	why := o.db.Fault()
	if why == nil || errors.Is(why, store.ErrClosed) {
		return why
	}
	if err := errors.Join(checkPlace(o.path, o.mount), o.checkMounted()); err != nil {
		o.db.SetFault(err)
		return err
	}
	if errors.Is(why, errUnmounted) {
		if fault := o.db.PathFault(); fault != nil { // the same filesystem is back, or another
			why = fault
		}
	}
	if o.reopening.cause == nil {
		o.reopening.cause = why
	}
	o.remember()
	if err := o.open(ctx); err != nil {
		o.db.SetFault(err)
		return err
	}
	o.reopening, o.mount = reopening{}, mountOf(o.path)
	o.db.WatchWrites()
	return nil
}

func (o *Owner) open(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(o.path), 0o750); err != nil {
		return fmt.Errorf("create the database directory: %w", err)
	}
	if o.db.Opened() && !o.reopening.logged {
		o.reopening.logged = true
		o.log.Warn("the database is being opened again; samples wait in memory", "database", o.path, "cause", o.reopening.cause.Error())
	}
	if err := o.rescueOpenFile(ctx); err != nil {
		return err
	}
	if err := o.db.Detach(ctx, o.reopening.cause); err != nil {
		return err
	}
	if err := store.CheckFreeSpace(o.path); err != nil {
		return err
	}
	if err := o.detachOldWAL(); err != nil {
		return err
	}
	if err := o.attach(ctx); err != nil {
		return err
	}
	if o.reopening.logged {
		o.log.Info("the database is open again", "database", o.path)
	}
	if _, err := o.TrimKept(maxKept); err != nil {
		o.log.Warn("old damaged databases could not be deleted", "error", err)
	}
	return nil
}

// attach makes sure that the file at the path is sound, replaces it if not, and
// attaches the database to it. This process has no connection open.
func (o *Owner) attach(ctx context.Context) error {
	if err := o.prepareFile(); err != nil {
		return err
	}
	if why := o.emptied(); why != nil {
		return o.replaceDamaged(ctx, why)
	}
	if errors.Is(o.reopening.cause, store.ErrOverwritten) && !o.reopening.installed {
		if err := o.checkOverwritten(ctx); isDamage(err) {
			return o.replaceDamaged(ctx, err)
		} else if err != nil {
			return err
		}
	}
	err := o.verify(ctx, false)
	if isDamage(err) {
		err = o.certain(ctx, err)
	}
	if err == nil {
		o.tries.unreadable, o.tries.salvages = 0, 0
		return nil
	}
	if store.IsBusy(err) && !hasPages(o.path) {
		// Other processes still use the index of the WAL that was there.
		return o.replaceDamaged(ctx, fmt.Errorf("%w (%w)", store.ErrEmptied, err))
	}
	if Refused(err) || ctx.Err() != nil {
		return err
	}
	if store.CannotRead(err) {
		o.tries.unreadable++
	}
	if store.FaultOf(err) == store.FaultDenied {
		return fmt.Errorf("%w%s", err, ownership(o.path))
	}
	if !isDamage(err) && o.tries.unreadable < unreadableLimit {
		return err
	}
	if o.tries.salvages >= salvageTries {
		return fmt.Errorf("%w; the salvaged database is not sound either", err)
	}
	return o.replaceDamaged(ctx, err)
}
