package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/status"
)

// errCheck means that what is in the file makes no sense, though SQLite said
// nothing yet.
var errCheck = errors.New("the database is damaged")

// errNotOurs is returned for a file that never was a database of ours.
var errNotOurs = errors.New("no SQLite database, nor the remains of one, and is left untouched; set storage.path to another file")

const (
	// wholeCheck is the size up to which every page is looked at when the file
	// is opened: quick_check reads some 100 MB a second, and a card 20.
	wholeCheck = 4 << 20
	// ends and stations bound the look at a larger file: so many rows at the ends
	// of the tables that grow, and so many single rows between.
	ends     = 1000
	stations = 200
)

// check looks through the file as far as that is cheap, whatever its size: the
// small tables, the ends of the large ones and of their indexes, and stations
// on the way between. What it misses is found by whoever meets it.
func (db *DB) check(ctx context.Context) error {
	info, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	if info.Size() <= wholeCheck {
		if err := db.pragmaCheck(ctx, "quick_check"); err != nil {
			return err
		}
	}
	queries := []string{
		"SELECT count(*), sum(length(series_key) + length(tags)) FROM series",
		"SELECT count(*), sum(length(detail)) FROM status",
		"SELECT count(*), sum(value) FROM counters",
		"SELECT count(*), sum(count) FROM ledger",
		"SELECT count(*), sum(count) FROM losses",
	}
	for _, from := range []string{
		"value AS v FROM samples ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 0 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 1 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 2 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"timestamp_ms AS v FROM samples WHERE uploaded = 0 AND priority = 3 ORDER BY timestamp_ms %[1]s, series_id %[1]s",
		"session AS v FROM samples WHERE uploaded = 3 ORDER BY session %[1]s, timestamp_ms %[1]s",
		"length(batch_id) AS v FROM upload_checkpoints ORDER BY id %[1]s",
		"length(metadata) AS v FROM sessions ORDER BY num %[1]s",
		"http_status AS v FROM rejected ORDER BY timestamp_ms %[1]s",
	} {
		for _, way := range []string{"ASC", "DESC"} {
			queries = append(queries, fmt.Sprintf("SELECT count(*), sum(v) FROM (SELECT "+from+" LIMIT %d)", way, ends))
		}
	}
	for _, query := range queries {
		var n, sum sql.NullFloat64
		if err := db.write.QueryRowContext(ctx, query).Scan(&n, &sum); err != nil {
			return fmt.Errorf("check the database: %w", err)
		}
	}
	var first, last sql.NullInt64
	err = db.write.QueryRowContext(ctx, "SELECT (SELECT min(timestamp_ms) FROM samples), (SELECT max(timestamp_ms) FROM samples)").Scan(&first, &last)
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	for i := range int64(stations) {
		at := first.Int64 + (last.Int64-first.Int64)/stations*i
		var v sql.NullFloat64
		err := db.write.QueryRowContext(ctx, "SELECT value FROM samples WHERE timestamp_ms >= ? ORDER BY timestamp_ms, series_id LIMIT 1", at).Scan(&v)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("check the database: %w", err)
		}
	}
	return nil
}

// ours fails for a file that never was a database of ours: a path in the
// configuration that leads to something else must not cost anybody that file.
// The remains of a database begin like one, are full of the pages of one, or
// have its log beside them.
func ours(path string, size int64) error {
	if size == 0 {
		return nil
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); err == nil {
			return nil
		}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open the database: %w%s", err, access(path))
	}
	defer f.Close()
	head := make([]byte, 16)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the database: %w", err)
	}
	if bytes.HasPrefix([]byte("SQLite format 3\x00"), bytes.TrimRight(head, "\x00")) && head[0] != 0 {
		return nil
	}
	pages, alike := 0, 0
	for at := int64(pageSize); at < size && pages < stations; at += max(pageSize, size/stations/pageSize*pageSize) {
		if _, err := f.ReadAt(head[:1], at); err != nil {
			break
		}
		pages++
		switch head[0] {
		case 0, 2, 5, 10, 13: // overflow pages and the four kinds of b-tree page
			alike++
		}
	}
	if pages > 3 && alike > pages*9/10 {
		return nil
	}
	return fmt.Errorf("%s is %w", path, errNotOurs)
}

// access says, for an error of opening a file, whose it is and who asks.
func access(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (%s has mode %04o and belongs to user %d, group %d; this is user %d, group %d)",
		path, info.Mode().Perm(), st.Uid, st.Gid, os.Geteuid(), os.Getegid())
}

// WantRepair leaves word for the owner that err, which spoke of damage, was met.
func (db *DB) WantRepair(ctx context.Context, daemon string, met error) error {
	if !isDamage(met) {
		return nil
	}
	now := time.Now().UnixMilli()
	return db.tx(ctx, func(tx *sql.Tx) error {
		text := strings.ToValidUTF8(met.Error(), "")
		return putStatus(ctx, tx, []status.Row{{
			Component: status.RepairRow, Daemon: daemon, State: status.Stopped, StartedMs: now,
			Error: text[:min(len(text), maxWords)], ErrorMs: now, FailingSinceMs: now, SuccessBootMs: -1,
		}})
	})
}

// RepairWanted returns the damage that another writer met, "" for none. The
// owner then mends.
func (db *DB) RepairWanted(ctx context.Context) error {
	met, err := db.repairWanted(ctx)
	if err == nil && met != "" {
		err = fmt.Errorf("%w: another process met it: %s", errCheck, met)
	}
	return db.gate.notice(err)
}

func (db *DB) repairWanted(ctx context.Context) (met string, err error) {
	err = db.write.QueryRowContext(ctx, "SELECT error FROM status WHERE component = ?", status.RepairRow).Scan(&met)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return met, err
}
