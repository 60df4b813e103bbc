// Package sqltest changes database files past package store, as tests of it and of
// the packages above it need.
package sqltest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"net/url"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// Open opens the file at path with an ordinary SQLite connection.
func Open(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// Exec runs statements on the file and closes it.
func Exec(t testing.TB, path string, statements ...string) {
	t.Helper()
	db := Open(t, path)
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// Read begins to read the file as another process would, until end.
func Read(t testing.TB, path string) (end func()) {
	t.Helper()
	other, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	tx, err := other.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM samples").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// The tables of the earlier schemas.
const (
	Schema1 = `CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL,
	metric_name TEXT NOT NULL, metric_value REAL, device_id TEXT);`

	Schema2 = `CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL, metric_name TEXT NOT NULL,
	metric_value REAL, value_text TEXT, value_type INTEGER DEFAULT 0, tags TEXT, session_id TEXT, device_id TEXT,
	uploaded INTEGER DEFAULT 0, priority INTEGER DEFAULT 2, dedup_key TEXT NOT NULL);
	CREATE INDEX idx_timestamp ON metrics(timestamp_ms);
	CREATE UNIQUE INDEX ux_metrics_dedup ON metrics(dedup_key);
	CREATE TABLE sessions (id TEXT PRIMARY KEY, start_time INTEGER NOT NULL, end_time INTEGER, status TEXT, metadata TEXT);
	CREATE TABLE upload_checkpoints (id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT NOT NULL, chunk_index INTEGER NOT NULL,
	last_uploaded_id INTEGER, last_uploaded_timestamp INTEGER, upload_time INTEGER, metrics_count INTEGER);
	CREATE TABLE schema_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, applied_at TEXT NOT NULL);
	INSERT INTO schema_version (version, applied_at) VALUES (2, '2025-10-12');`
)

// Damage changes a database and its WAL as a fuzzer says. Each operation has eight
// bytes: which file, what to do, four bytes for where, one for how much and one for
// what.
func Damage(files [2][]byte, ops []byte) [2][]byte {
	const pageSize = 1024
	for i := range files {
		files[i] = bytes.Clone(files[i])
	}
	for ; len(ops) >= 8; ops = ops[8:] {
		f := &files[ops[0]&1]
		if len(*f) == 0 {
			continue
		}
		at := int(binary.LittleEndian.Uint32(ops[2:]) % uint32(len(*f))) //nolint:gosec // not that long
		end := min(len(*f), at+1+int(ops[6]))
		switch ops[1] % 6 {
		case 0: // a bit
			(*f)[at] ^= 1 << (ops[7] & 7)
		case 1: // a run of one byte
			for i := at; i < end; i++ {
				(*f)[i] = ops[7]
			}
		case 2: // a page
			page := at / pageSize * pageSize
			for i := page; i < min(len(*f), page+pageSize); i++ {
				(*f)[i] = ops[7]
			}
		case 3: // the end
			*f = (*f)[:at]
		case 4: // one page in the place of another
			other := int(ops[7]) * pageSize % len(*f)
			copy((*f)[at/pageSize*pageSize:], (*f)[other:min(len(*f), other+pageSize)])
		case 5: // more than there was
			*f = append(*f, (*f)[at:end]...)
		}
	}
	return files
}
