package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"time"
)

const (
	// salvageLimit bounds one salvage. It goes from the newest sample to the
	// oldest, so what it does not reach is what matters least.
	salvageLimit = 2 * time.Minute
	// salvageRoom is what a salvage leaves free on the filesystem, for collecting
	// to go on.
	salvageRoom = 8 << 20
	// lostDamaged is the reason of samples that were in a damaged file and could
	// not be read.
	lostDamaged = "damaged"
	// damageRow is the component under which health finds what happened.
	damageRow = "damage"
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

// A damage is what is left in the status row about a damaged file.
type damage struct {
	DamagedMs int64  `json:"damaged_ms"`
	Salvaged  int64  `json:"salvaged"`
	Lost      *int64 `json:"lost,omitempty"` // nil: nobody knows
	Kept      string `json:"kept"`
	Halted    string `json:"halted,omitempty"`
	Cause     string `json:"-"`
	skipped   int    // places in the file that could not be read
	older     bool   // of an earlier schema: the row about it is still to be written
}

func (d damage) lostText() string {
	if d.Lost == nil {
		return "unknown"
	}
	return fmt.Sprint(*d.Lost)
}

func (d damage) status() (Status, error) {
	detail, err := json.Marshal(d)
	if err != nil {
		return Status{}, err
	}
	text := fmt.Sprintf("the database was damaged (%s); %d samples were salvaged, lost: %s; the damaged file is kept as %s", d.Cause, d.Salvaged, d.lostText(), d.Kept)
	return Status{
		Component: damageRow, Daemon: "storage", State: StateStopped, StartedMs: d.DamagedMs,
		Error: text[:min(len(text), maxWords)], ErrorMs: d.DamagedMs, SuccessBootMs: -1, Detail: string(detail),
	}, nil
}

// copyInto fills the file part with what can be read of from. Schema 0 stands
// for a file of which nothing can be read.
func (db *DB) copyInto(ctx context.Context, part, from string, version int, cause error, aside string) (result damage, err error) {
	result = damage{DamagedMs: time.Now().UnixMilli(), Kept: aside, Cause: cause.Error()}
	if err := errors.Join(removeAll(part), create(part)); err != nil {
		return result, err
	}
	older := version == 1 || version == 2
	if !older {
		opts := db.opts
		opts.Owner = false
		fresh, err := open(ctx, part, opts)
		if err != nil {
			return result, err
		}
		if err := errors.Join(fresh.write.Close(), fresh.read.Close()); err != nil {
			return result, err
		}
	}
	// The new file is thrown away if this does not come to its end.
	pool := sql.OpenDB(connector{dsn(part, url.Values{"_journal_mode": {"MEMORY"}, "_synchronous": {"OFF"}}), setUpReader, nil})
	defer func() { err = errors.Join(err, pool.Close()) }()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	s := &salvage{conn: conn, until: time.Now().Add(salvageLimit), roomOf: part, leave: db.leave}
	if version > 0 {
		if _, err := conn.ExecContext(ctx, "ATTACH ? AS old", readOnly(from)); err != nil {
			return result, fmt.Errorf("open the damaged database beside the new one: %w", err)
		}
	}
	switch {
	case older:
		err = s.older(ctx)
	case version == schemaVersion:
		err = s.present(ctx, db.series.all())
	}
	if err != nil {
		return result, err
	}
	result.Salvaged, result.Halted, result.skipped = s.copied, s.halted, s.skipped
	if older {
		result.older = true
		return result, nil // the migration keeps the books
	}
	return result, s.closeBooks(ctx, &result, sizeOf(from))
}

// sizeOf is what a file and its log have together.
func sizeOf(path string) (size int64) {
	for _, part := range []string{"", "-wal"} {
		if info, err := os.Stat(path + part); err == nil {
			size += info.Size()
		}
	}
	return size
}

// present copies a file of the present schema.
func (s *salvage) present(ctx context.Context, known map[int64]*Series) error {
	for _, table := range []struct{ name, key string }{
		{"series", "id"},
		{"sessions", "num"},
		{"status", "component"},
		{"counters", "name"},
		{"ledger", "name"},
		{"losses", "reason"},
		{"upload_checkpoints", "id"},
		{"rejected", "timestamp_ms"},
	} {
		if err := s.table(ctx, table.name, table.key); err != nil {
			return err
		}
	}
	if _, err := s.conn.ExecContext(ctx, "DELETE FROM main.status WHERE component = ?", repairRow); err != nil {
		return err
	}
	if err := s.trustSeries(ctx, known); err != nil {
		return err
	}
	return s.walk(ctx, samplesWalk)
}

// older copies a file of an earlier schema as it is; opening it brings it up to
// date.
func (s *salvage) older(ctx context.Context) error {
	tables, err := s.olderTables(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if _, err := s.conn.ExecContext(ctx, tables[name]); err != nil {
			return err
		}
		if name == "metrics" {
			continue
		}
		if err := s.table(ctx, name, "rowid"); err != nil {
			return err
		}
	}
	return s.walk(ctx, olderWalk)
}

// olderTables returns how the tables of an earlier schema were made, by name.
func (s *salvage) olderTables(ctx context.Context) (map[string]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT name, sql FROM old.sqlite_schema WHERE type = 'table' AND name IN ('metrics', 'sessions', 'upload_checkpoints', 'schema_version')")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tables := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		tables[name] = text
	}
	return tables, rows.Err()
}

// trustSeries takes out what cannot be the identity it was stored as, and puts
// in what this process knows.
func (s *salvage) trustSeries(ctx context.Context, known map[int64]*Series) error {
	wrong, err := s.wrongSeries(ctx)
	if err != nil {
		return err
	}
	for _, id := range wrong {
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM main.series WHERE id = ?", id); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(known)) {
		one := known[id]
		_, err := s.conn.ExecContext(ctx, "INSERT OR IGNORE INTO main.series VALUES (?, ?, ?, ?, ?, ?)",
			id, seriesKey(one.Name, one.Device, one.Tags, one.Type), one.Name, one.Device, one.Tags, one.Type)
		if err != nil {
			return err
		}
	}
	return nil
}

// wrongSeries returns the ids of series whose key is not that of their identity.
func (s *salvage) wrongSeries(ctx context.Context) (wrong []int64, err error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT id, series_key, metric_name, device_id, tags, value_type FROM main.series")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one Series
		var key string
		if err := rows.Scan(&one.ID, &key, &one.Name, &one.Device, &one.Tags, &one.Type); err != nil {
			return nil, err
		}
		if key != seriesKey(one.Name, one.Device, one.Tags, one.Type) || one.ID < 1 || one.ID > maxSeries {
			wrong = append(wrong, one.ID)
		}
	}
	return wrong, rows.Err()
}

// closeBooks makes the ledger of the new file agree with its rows: what the old
// one knew of and is not here is lost.
func (s *salvage) closeBooks(ctx context.Context, result *damage, size int64) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = closeBooks(ctx, tx, result, size)
	if err == nil {
		err = putDamage(ctx, tx, *result)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func closeBooks(ctx context.Context, tx *sql.Tx, result *damage, size int64) error {
	rows, err := countStates(ctx, tx)
	if err != nil {
		return err
	}
	l, _, err := ledger(ctx, tx)
	if err != nil {
		return err
	}
	var entries int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM main.ledger WHERE name IN ('captured', 'delivered') AND count >= 0").Scan(&entries); err != nil {
		return err
	}
	delivered := max(l.Delivered, rows[Delivered])
	here := delivered + rows[Pending] + rows[Held] + rows[Rejected] + rows[Local] + l.Lost
	lost := l.Captured - here
	// Eight bytes are less than any row takes: more rows than that cannot have
	// been in the file, and the ledger itself is what is damaged.
	known := entries == 2 && l.Captured > 0 && lost <= size/8
	if !known || lost < 0 {
		lost = 0
	}
	for name, count := range map[string]int64{
		"captured": here + lost, "delivered": delivered, "held": rows[Held], "local": rows[Local], "rejected": rows[Rejected],
	} {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO main.ledger VALUES (?, ?)", name, count); err != nil {
			return err
		}
	}
	if known {
		result.Lost = &lost
	}
	return addLoss(ctx, tx, lostDamaged, int(lost), time.UnixMilli(result.DamagedMs))
}

func putDamage(ctx context.Context, tx *sql.Tx, result damage) error {
	status, err := result.status()
	if err != nil {
		return err
	}
	return putStatus(ctx, tx, []Status{status})
}
