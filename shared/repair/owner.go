// Package repair keeps the database usable: it opens the file at the path, saves
// the rows of a file that was deleted, replaced or damaged, and puts a sound file
// in its place.
//
// The collector is the only process that repairs, in a loop of its own: start at
// Owner's Step. The shipper opens the database again when it has been repaired:
// Reopen. How a database is written and read is package store's business.
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
	// lookEvery is how often Step wants to be called while nothing is wrong and
	// nobody calls it before: the collector does after each round.
	lookEvery = time.Minute
	// retryEvery is how soon a step follows one that failed.
	retryEvery = 5 * time.Second
	// requestEvery is how often other processes' requests are read.
	requestEvery = 10 * time.Second
	// salvageTries bounds how often a file is made again before one that was made
	// is found good. The last time nothing of the old one goes into it.
	salvageTries = 2
	// salvageLimit bounds one salvage. It goes from the newest sample to the oldest,
	// so what it does not reach is what matters least.
	salvageLimit = 2 * time.Minute
	// keepFree is what a salvage leaves free on the filesystem, for collecting to
	// go on.
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
	mount     string // where the filesystem of the open database is mounted, "" for unknown
	due       struct{ ballast, request time.Time }
	fstab     string // the system's table of filesystems

	keepFree int64                                        // bytes the salvage leaves free on the filesystem
	readAll  func(ctx context.Context, path string) error // reads a database and its WAL from the device
}

// reopening is how far it is that the database is opened again.
type reopening struct {
	cause     error // why it is; nil: it is not
	logged    bool  // the log has a line about it
	rescued   bool  // nothing more is to be got from the descriptors of the file that was open
	installed bool  // a salvaged file was put in place
	// pagesOnly: the file was salvaged without its ledger, and nothing else of it
	// is of an earlier moment.
	pagesOnly bool
}

// damagedWAL is what becomes of a WAL that is damaged.
type damagedWAL struct {
	kept   string // head of the one that was kept last
	unsaid string // what was found wrong with it, until health is told
}

// tries counts what did not help. Each is 0 again once the database is open and
// found good.
type tries struct {
	salvages   int // files that were made and not found good
	unreadable int // looks in a row at a file that the device could not read
	cleared    int // times that damage was met in a file that is sound as a whole
	rescues    int // of open files, in a row, that failed
}

// behind is how many samples stay in files that are no longer used, until they
// are counted as lost.
type behind struct {
	pending int64 // undelivered samples in a file that was replaced
	partly  bool  // some of those are in the new file as well
	rescued int64 // undelivered samples in the file that was rescued
}

// New returns the owner of db, which its first Step opens.
func New(db *store.DB, log *slog.Logger) *Owner {
	return &Owner{db: db, path: db.Path(), log: log, keepFree: keepFree, readAll: readAll, fstab: "/etc/fstab"}
}

// Refused says whether an error of Step or Reopen means that the file belongs to
// another program and is left alone: there is no use in trying again.
func Refused(err error) bool {
	return errors.Is(err, store.ErrNewerSchema) || errors.Is(err, store.ErrForeign) || errors.Is(err, errNotOurs) || errors.Is(err, errNoPlace)
}

// Step looks whether the database can be relied on. If not it is opened, or
// opened again: a damaged file is kept under another name and what can be read
// of it goes into a new one; a file that was deleted while it was open is
// written again from the open descriptors. Meanwhile all methods of the database
// fail. It may take as long as copying the file takes; after an error the next
// step goes on.
func (o *Owner) Step(ctx context.Context) (next time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.observe(ctx)
	if err = o.reopen(ctx); err != nil {
		next, err = retryEvery, fmt.Errorf("open the database: %w", err)
	} else {
		next = lookEvery
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

// observe looks at the files, and at what another process met, for Fault.
func (o *Owner) observe(ctx context.Context) {
	if o.db.Fault() != nil {
		return
	}
	// Errors say what they have to by themselves: Fault knows them.
	_ = o.db.CheckFiles(ctx)
	if time.Since(o.due.request) < requestEvery {
		return
	}
	o.due.request = time.Now()
	if met, err := o.db.RequestedRepair(ctx); err == nil && met != "" {
		_ = o.db.Observe(fmt.Errorf("%w: another process met it: %s", store.ErrDamaged, met))
	}
}

// reopen opens the database if Fault says that it has to be.
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
		if fault := o.db.PathFault(); fault != nil { // it is back, or another is
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
	return nil
}

func (o *Owner) open(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(o.path), 0o750); err != nil {
		return fmt.Errorf("create the database directory: %w", err)
	}
	if o.db.Opened() && !o.reopening.logged {
		o.reopening.logged = true
		o.log.Warn("the database is opened again; samples wait in memory meanwhile", "database", o.path, "cause", o.reopening.cause.Error())
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

// attach brings the file at the path into a state that can be relied on, and
// attaches the database to it. No connection of ours is open.
func (o *Owner) attach(ctx context.Context) error {
	if err := o.prepareFile(); err != nil {
		return err
	}
	if why := o.emptied(); why != nil {
		return o.replaceDamaged(ctx, why)
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
		// Other processes have an index of the WAL that was there.
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
		return fmt.Errorf("%w; salvaging did not help", err)
	}
	return o.replaceDamaged(ctx, err)
}

// isDamage says whether an error means that the file's contents make no sense.
func isDamage(err error) bool { return store.FaultOf(err) == store.FaultDamaged }
