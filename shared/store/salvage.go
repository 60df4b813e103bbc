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

// A Salvage says how to make a new file of what can be read of a damaged one.
type Salvage struct {
	Known    []Series // that this process knows
	Nothing  bool     // nothing of the damaged file goes into the new one
	KeepFree int64    // bytes to leave free on the filesystem
}

// A Salvaged is what a salvage came to.
type Salvaged struct {
	Samples int64
	Lost    *int64 // nil: unknown
	Halted  string // why it ended early, "" for not at all
	Skipped int    // places that could not be read
}

// Run makes the new file to of what can be read of from.
func (o Salvage) Run(ctx context.Context, from, to string) (result Salvaged, err error) {
	patched := to + "-old"
	if err := removeAll(patched); err != nil {
		return result, err
	}
	version, unread := VersionOf(ctx, from)
	switch {
	case errors.Is(unread, ErrForeign):
		return result, unread
	case o.Nothing:
		version = 0
	case unread != nil:
		version = versionByTables(ctx, from)
	case version > SchemaVersion:
		return result, fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, version, SchemaVersion)
	}
	result, err = o.copyInto(ctx, to, from, version)
	if err == nil && result.Samples == 0 && !o.Nothing {
		// The schema may be what is damaged, and every fresh file of ours begins
		// with the same one.
		var patch error
		if patch = patchHead(ctx, from, patched); patch == nil {
			version, patch = VersionOf(ctx, patched)
		}
		if patch == nil && version == SchemaVersion {
			result, err = o.copyInto(ctx, to, patched, version)
		}
	}
	if unread != nil {
		result.Skipped++
	}
	return result, errors.Join(err, removeAll(patched))
}

// VersionOf reads the schema version without changing the file or its log.
func VersionOf(ctx context.Context, path string) (version int, err error) {
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
	return SchemaVersion
}

func readOnly(path string) string { return dsn(path, url.Values{"mode": {"ro"}}) }
