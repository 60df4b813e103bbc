package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	// salvageLimit bounds one salvage. It goes from the newest sample to the
	// oldest, so what it does not reach is what matters least.
	salvageLimit = 2 * time.Minute
	// salvageRoom is what a salvage leaves free on the filesystem, for collecting
	// to go on.
	salvageRoom = 8 << 20
)

// A salvage is one way from a damaged file to a new one. The old file is read
// through SQLite, log included, and never written.
type salvage struct {
	conn    *sql.Conn // main is the new file, old the damaged one
	until   time.Time
	roomOf  string // no more is copied when the filesystem of this path has less
	leave   int64  // bytes left than this
	copied  int64
	halted  string // why it ended early, "" for not at all
	skipped int    // places that could not be read
}

// salvage makes a new file of what can be read of the one at the path, sets that
// one aside and puts the new one in place. No connection of ours is open.
func (db *DB) salvage(ctx context.Context, cause error) error {
	start := time.Now()
	db.log().Error("the database is damaged; what can be read of it goes into a new one, the damaged file is kept",
		"database", db.path, "cause", cause.Error())
	part := db.path + unfinishedSuffix
	patched := part + "-old"
	if err := errors.Join(removeAll(part), removeAll(patched)); err != nil {
		return err
	}
	if free, err := freeBytes(db.path); err == nil && free < sizeOf(db.path)+db.leave {
		if _, err := db.ReleaseBallast(); err != nil {
			db.log().Warn("no more room for the new database", "error", err)
		}
	}
	aside := asideName(db.path, start)
	result, err := db.copyAgain(ctx, part, patched, cause, aside)
	if err == nil && result.Halted != "" && db.sound(ctx) {
		err = fmt.Errorf("%w; %s", errSound, result.Halted)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("salvage the damaged database: %w", err), removeAll(part), removeAll(patched))
	}
	if err := removeAll(patched); err != nil {
		return err
	}
	if err := finish(part, db.path+salvagedSuffix); err != nil {
		return err
	}
	if err := setAside(db.path, aside, parts[:]...); err != nil {
		return err
	}
	if err := db.adopt(); err != nil {
		return err
	}
	if result.older {
		db.owed = &result
	}
	db.log().Warn("the database was salvaged", "database", db.path, "salvaged", result.Salvaged, "lost", result.lostText(),
		"kept", aside, "duration_ms", time.Since(start).Milliseconds(), "halted", result.Halted)
	return nil
}

// copyTries bounds how often a file is copied until it is read alike twice.
const copyTries = 4

// copyAgain is copyOut, until all could be read or the same could not be read
// twice: what a device fails to read for a moment would be taken for lost.
func (db *DB) copyAgain(ctx context.Context, part, patched string, cause error, aside string) (damage, error) {
	var before *damage
	for range copyTries {
		result, err := db.copyOut(ctx, part, patched, cause, aside)
		switch {
		case err != nil:
			return result, err
		case result.skipped == 0 || result.Halted != "" || db.unreadable >= unreadableLimit,
			before != nil && result.skipped == before.skipped && result.Salvaged == before.Salvaged:
			return result, nil
		}
		if err := db.through(ctx, db.path); err != nil {
			return result, err
		}
		before = &result
	}
	return damage{}, fmt.Errorf("%w the same way twice", errDevice)
}

// copyOut makes a new file of what can be read of the one at the path.
func (db *DB) copyOut(ctx context.Context, part, patched string, cause error, aside string) (result damage, err error) {
	last := db.salvages >= salvageTries-1
	version, unread := versionOf(ctx, db.path)
	switch {
	case Refused(unread):
		return result, unread
	case last:
		version = 0
	case unread != nil:
		version = versionByTables(ctx, db.path)
	case version > schemaVersion:
		return result, fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, version, schemaVersion)
	}
	result, err = db.copyInto(ctx, part, db.path, version, cause, aside)
	if err == nil && result.Salvaged == 0 && !last {
		// The schema may be what is damaged, and every fresh file of ours begins
		// with the same one.
		var patch error
		if patch = db.patchHead(ctx, db.path, patched); patch == nil {
			version, patch = versionOf(ctx, patched)
		}
		if patch == nil && version == schemaVersion {
			result, err = db.copyInto(ctx, part, patched, version, cause, aside)
		}
	}
	if unread != nil {
		result.skipped++
	}
	return result, err
}

// versionOf reads the schema version without changing the file or its log.
func versionOf(ctx context.Context, path string) (version int, err error) {
	read := sql.OpenDB(connector{readOnly(path), setUpReader, nil})
	defer func() { err = errors.Join(err, read.Close()) }()
	return schemaOf(ctx, read)
}

// versionByTables is the schema version of a file that cannot say it: the present
// one if it has its tables, 0 otherwise.
func versionByTables(ctx context.Context, path string) (version int) {
	read := sql.OpenDB(connector{readOnly(path), setUpReader, nil})
	defer read.Close()
	var tables int
	err := read.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('samples', 'series', 'ledger', 'losses')").Scan(&tables)
	if err != nil || tables < 4 {
		return 0
	}
	return schemaVersion
}

func readOnly(path string) string { return dsn(path, url.Values{"mode": {"ro"}}) }
