package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

// salvageTries bounds how often a file is made anew before one that was made
// anew is found good. The last time nothing of the old one goes into it.
const salvageTries = 2

// Refused says whether an error of Open or Mend means that the file belongs to
// somebody else and is left alone: there is no use in trying again.
func Refused(err error) bool {
	return errors.Is(err, ErrNewerSchema) || errors.Is(err, ErrForeign) || errors.Is(err, errNotOurs)
}

// Mend opens the database, or opens it again when Fault says so. The owner also
// repairs it: a damaged file is set aside under another name and what can be
// read of it goes into a new one; a file that was deleted while it was open is
// written anew from the open descriptor. Another writer waits for the owner.
//
// While it runs all other methods fail. It may take as long as copying the file
// takes; when it fails it may be called again, and goes on.
func (db *DB) Mend(ctx context.Context) error {
	db.mending.Lock()
	defer db.mending.Unlock()
	why := db.Fault()
	if why == nil {
		return nil
	}
	if errors.Is(why, errClosed) {
		return why
	}
	if db.cause == nil {
		db.cause = why
	}
	if err := db.mend(ctx, db.cause); err != nil {
		db.gate.close(err)
		return err
	}
	db.cause, db.rescued, db.parted = nil, false, false
	return nil
}

func (db *DB) mend(ctx context.Context, why error) error {
	if err := checkVersion(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(db.path), 0o750); err != nil {
		return fmt.Errorf("create the database directory: %w", err)
	}
	first := db.gate.file == nil
	if !first && !db.told {
		db.told = true
		db.log().Warn("the database is opened again; samples wait in memory meanwhile", "database", db.path, "cause", why.Error())
	}
	if err := db.rescue(ctx, why); err != nil {
		return err
	}
	if err := db.shut(ctx, why); err != nil {
		return err
	}
	if err := db.room(); err != nil {
		return err
	}
	if err := db.partFromLog(); err != nil {
		return err
	}
	if err := db.settle(ctx, first); err != nil {
		return err
	}
	if err := db.admit(ctx); err != nil {
		return err
	}
	if db.told {
		db.told = false
		db.log().Info("the database is open again", "database", db.path)
	}
	if db.opts.Owner {
		if _, err := db.TrimAside(maxAside); err != nil {
			db.log().Warn("old damaged databases are still there", "error", err)
		}
	}
	return nil
}

// settle brings the file at the path into a state that can be relied on. No
// connection of ours is open.
func (db *DB) settle(ctx context.Context, first bool) error {
	if db.opts.Owner {
		if err := db.adopt(); err != nil {
			return err
		}
	}
	info, err := os.Lstat(db.path)
	if errors.Is(err, fs.ErrNotExist) {
		if !db.opts.Owner && (!first || hasPages(db.path+"-wal") || db.mended()) {
			return errors.New("the database is gone; the collector makes a new one")
		}
		if err := create(db.path); err != nil {
			return err
		}
		info, err = os.Lstat(db.path)
	}
	switch {
	case err != nil:
		return fmt.Errorf("look at the database: %w", err)
	case !info.Mode().IsRegular():
		// A FIFO would wait for a writer, and beside a symbolic link lies another
		// log than beside the file it leads to.
		return fmt.Errorf("%s is %w but a %s; move it away, or set storage.path to the file itself", db.path, errNotFile, kindOf(info.Mode()))
	case db.opts.Owner:
		if err := db.beforeOpening(info); err != nil {
			return err
		}
	}
	err = db.verify(ctx)
	if db.opts.Owner && isDamage(err) && db.unreadable < unreadableLimit {
		err = db.lookAgain(ctx)
	}
	if err == nil {
		db.unreadable, db.salvages = 0, 0
		return nil
	}
	if !db.opts.Owner || Refused(err) || ctx.Err() != nil {
		return err
	}
	if cannotRead(err) {
		db.unreadable++
	}
	if FaultOf(err) == FaultDenied {
		return fmt.Errorf("%w%s", err, access(db.path))
	}
	if !isDamage(err) && db.unreadable < unreadableLimit {
		return err
	}
	if db.salvages >= salvageTries {
		return fmt.Errorf("%w; salvaging did not help", err)
	}
	return db.putRight(ctx, err)
}

// putRight salvages the file and looks at the one that takes its place.
func (db *DB) putRight(ctx context.Context, cause error) error {
	err := db.salvage(ctx, cause)
	if errors.Is(err, errSound) {
		db.acquitted = 0
		if verr := db.verify(ctx); verr != nil {
			return verr
		}
		db.log().Warn("there is no room or time to make the database anew, and a check of the whole finds no damage; it is used on", "database", db.path, "error", err)
		return nil
	}
	if err == nil {
		db.gate.forget()
		err = db.verify(ctx)
	}
	if err != nil {
		if cannotRead(err) {
			db.unreadable++
		}
		// Whatever else it is, such as a full disk, says nothing of what is in the file.
		if isDamage(notOurSchema(err)) {
			db.salvages++
		}
		return err
	}
	db.salvages, db.acquitted, db.unreadable = 0, 0, 0
	return nil
}

// beforeOpening looks at what SQLite would pass over in silence when it opens
// the file.
func (db *DB) beforeOpening(info os.FileInfo) error {
	if err := ours(db.path, info.Size()); err != nil {
		return err
	}
	db.keepDamagedLog()
	if !hasPages(db.path + "-wal") {
		return nil
	}
	if info, err := os.Stat(db.path); err != nil || info.Size() > 0 {
		return err
	}
	// SQLite would empty the log of an empty file; what is in it may be all there is.
	if err := os.Truncate(db.path, pageSize); err != nil {
		return fmt.Errorf("make room for the pages of the write-ahead log: %w", err)
	}
	return nil
}

func hasPages(log string) bool {
	info, err := os.Stat(log)
	return err == nil && info.Size() > 0
}

// verify opens the file as any other would, looks through it as far as that is
// cheap, and goes on with the session in it.
func (db *DB) verify(ctx context.Context) (err error) {
	// Even to open a file for writing may change it: first see whose it is.
	version, err := versionOf(ctx, db.path)
	if Refused(err) {
		return err
	}
	if err == nil && version > schemaVersion {
		return fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, version, schemaVersion)
	}
	var one *DB
	err = retryBusy(ctx, openPatience, func() error {
		one, err = open(ctx, db.path, db.opts)
		return err
	})
	if err != nil || version == schemaVersion {
		defer func() { err = notOurSchema(err) }()
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, one.write.Close(), one.read.Close()) }()
	if err := one.tx(ctx, func(*sql.Tx) error { return nil }); err != nil {
		return err // a file that cannot be written can still be opened
	}
	if !db.opts.Owner {
		return nil
	}
	if err := one.check(ctx); err != nil {
		return err
	}
	if err := db.acquit(ctx, one); err != nil {
		return err
	}
	if err := db.tell(ctx, one); err != nil {
		return err
	}
	if db.begun != nil {
		if db.resumed, err = one.resume(ctx, *db.begun); err != nil {
			return err
		}
	}
	return nil
}

// notOurSchema makes damage of an error that names what every file of ours has,
// such as a missing column: it is the schema that was damaged.
func notOurSchema(err error) error {
	var se sqlite3.Error
	if errors.As(err, &se) && (se.Code == sqlite3.ErrError || se.Code == sqlite3.ErrMismatch || se.Code == sqlite3.ErrConstraint || se.Code == sqlite3.ErrTooBig) {
		return fmt.Errorf("%w: %w", errCheck, err)
	}
	return err
}

// create makes an empty file of the mode that all of the database's files then
// get, whatever the umask: readers are in the group.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil // another daemon was faster
	}
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	return errors.Join(f.Chmod(0o640), f.Close())
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (db *DB) log() *slog.Logger {
	if db.opts.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return db.opts.Log
}
