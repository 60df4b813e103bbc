package store

import (
	"errors"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// ErrDevice means that the device fails to read what was stored, for now or for
// good.
var ErrDevice = errors.New("the device cannot read the database")

// CannotRead says whether an error is the device's rather than the file's.
func CannotRead(err error) bool {
	if se, ok := errors.AsType[sqlite3.Error](err); ok {
		switch se.ExtendedCode {
		case sqlite3.ErrIoErrRead, sqlite3.ErrIoErrShortRead, sqlite3.ErrNoExtended(sqlite3.ErrIoErr):
			return true
		}
	}
	return errors.Is(err, ErrDevice)
}

// CannotWrite says whether an error is of what is being written, rather than of
// what is read.
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

// ContradictsSchema says whether an error names what every file of ours has, such
// as a missing column.
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
