package store

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// ErrDevice means that the device cannot read the file, for a moment or
// permanently.
var ErrDevice = errors.New("the device cannot read the database")

// CannotRead says whether the device failed to read. The file itself may be sound.
func CannotRead(err error) bool {
	if se, ok := errors.AsType[sqlite3.Error](err); ok {
		switch se.ExtendedCode {
		case sqlite3.ErrIoErrRead, sqlite3.ErrIoErrShortRead, sqlite3.ErrNoExtended(sqlite3.ErrIoErr):
			return true
		}
	}
	return errors.Is(err, ErrDevice)
}

// CannotWrite says whether writing failed, rather than reading.
func CannotWrite(err error) bool {
	se, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS)
	}
	switch se.Code {
	case sqlite3.ErrIoErr:
		return !CannotRead(err)
	case sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem:
		return true
	}
	return false
}

// ContradictsSchema says whether an error means that the file does not have the
// tables and columns that every file of ours has.
func ContradictsSchema(err error) bool {
	se, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return false
	}
	switch se.Code {
	case sqlite3.ErrError, sqlite3.ErrMismatch, sqlite3.ErrConstraint, sqlite3.ErrTooBig:
		return true
	}
	return false
}

// IsFull says whether an error means that the disk is full.
func IsFull(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && se.Code == sqlite3.ErrFull || errors.Is(err, syscall.ENOSPC)
}

// IsBusy says whether an error means that another process keeps the database
// locked.
func IsBusy(err error) bool { return isBusy(err) }

func isBusy(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && (se.Code == sqlite3.ErrBusy || se.Code == sqlite3.ErrLocked)
}

// A Fault is why a database cannot be read.
type Fault int

// The faults. FaultOther is any other error.
const (
	FaultNone    Fault = iota
	FaultMissing       // no file at the path
	FaultEmpty         // no tables yet: no writer has opened the file
	FaultDenied        // no permission, or the files of the WAL cannot be opened
	FaultDamaged       // not an SQLite file, or a page that makes no sense
	FaultLocked        // another process keeps it locked for longer than busyTimeout
	FaultOlder         // an older schema, which the next writer migrates
	FaultNewer         // a newer schema
	FaultForeign       // a database of another program
	FaultOther
)

// FaultOf returns what an error of OpenReader or of a Reader means.
func FaultOf(err error) Fault {
	var se sqlite3.Error
	switch {
	case err == nil:
		return FaultNone
	case errors.Is(err, ErrDamaged):
		return FaultDamaged
	case errors.Is(err, fs.ErrNotExist):
		return FaultMissing
	case errors.Is(err, fs.ErrPermission):
		return FaultDenied
	case errors.Is(err, errNoTables):
		return FaultEmpty
	case errors.Is(err, errOlder):
		return FaultOlder
	case errors.Is(err, ErrNewerSchema):
		return FaultNewer
	case errors.Is(err, ErrForeign):
		return FaultForeign
	case errors.As(err, &se):
		switch se.Code {
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
			return FaultDamaged
		case sqlite3.ErrBusy, sqlite3.ErrLocked:
			return FaultLocked
		case sqlite3.ErrCantOpen, sqlite3.ErrPerm, sqlite3.ErrReadonly, sqlite3.ErrAuth:
			return FaultDenied
		}
	}
	return FaultOther
}
