package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// newPools opens no file yet. Its connections never create a file: that would hide
// that the file was deleted.
func newPools(path string, opts Options, g *guard) *DB {
	write := sql.OpenDB(connector{path, dsn(path, url.Values{
		"mode":         {"rw"},
		"_synchronous": {opts.Synchronous},
		"_txlock":      {"immediate"},
	}), setUpWriter, g})
	write.SetMaxOpenConns(writers)
	read := sql.OpenDB(connector{path, dsn(path, url.Values{"mode": {"rw"}, "_query_only": {"true"}}), setUpReader, g})
	read.SetMaxOpenConns(readers)
	return &DB{Reader: &Reader{path: path, read: read, series: newSeriesCache(), guard: g}, write: write, opts: opts}
}

// statements is how many compiled statements each connection keeps: a round runs a
// dozen, and compiling one takes longer than running it.
const statements = "24"

// dsn is the data source name of a connection. It has the settings, because a
// PRAGMA that is sent to a pool reaches only one of its connections.
func dsn(path string, params url.Values) string {
	params.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	params.Set("_stmt_cache_size", statements)
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: params.Encode()}
	return u.String()
}

// A connector opens connections, also with settings that a data source name cannot
// have.
type connector struct {
	path  string
	dsn   string
	setUp func(*sqlite3.SQLiteConn) error
	guard *guard
}

func (c connector) Connect(context.Context) (driver.Conn, error) {
	if err := c.guard.allow(c.path); err != nil {
		return nil, err
	}
	opened, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return conn{opened.(*sqlite3.SQLiteConn)}, nil
}

func (c connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{ConnectHook: c.setUp} }

// Each connection has a cache of 512 KiB and no memory map: 2 MiB saved neither
// bytes nor time when measured, and with a map a failing disk causes SIGBUS.
const commonSettings = "PRAGMA cache_size=-512; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;"

func setUpReader(c *sqlite3.SQLiteConn) error {
	if _, err := c.Exec(commonSettings, nil); err != nil {
		return err
	}
	return persistWAL(c)
}

func setUpWriter(c *sqlite3.SQLiteConn) error {
	settings := commonSettings
	pages, err := pragma(c, "page_count")
	if err != nil {
		return err
	}
	if pages == 0 {
		// These take effect only in a file without tables. With auto_vacuum, pages that
		// retention frees can be returned to the filesystem.
		settings += fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL;", PageSize)
	}
	// Only the collector runs checkpoints, between two rounds; see Checkpoint.
	settings += "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
	if _, err := c.Exec(settings, nil); err != nil {
		return err
	}
	return persistWAL(c)
}

// pragma reads a setting that is a number.
func pragma(c *sqlite3.SQLiteConn, name string) (n int64, err error) {
	rows, err := c.Query("PRAGMA "+name, nil)
	if err != nil {
		return 0, err
	}
	value := make([]driver.Value, 1)
	err = rows.Next(value)
	if err := errors.Join(err, rows.Close()); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	n, ok := value[0].(int64)
	if !ok {
		return 0, fmt.Errorf("read %s: %v is no number", name, value[0])
	}
	return n, nil
}

// persistWAL leaves -wal and -shm in place when the last connection closes. Without
// them, a reader that may not write cannot open the file.
func persistWAL(c *sqlite3.SQLiteConn) error {
	return c.SetFileControlInt("main", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
}

// checkSettings checks the settings of the writing connection.
func (db *DB) checkSettings(ctx context.Context) error {
	var mode string
	if err := db.write.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return fmt.Errorf("read the journal mode: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %q, not wal; the filesystem may not support shared memory", mode)
	}
	want := map[string]int{"FULL": 2, "NORMAL": 1}[strings.ToUpper(db.opts.Synchronous)]
	var got int
	if err := db.write.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&got); err != nil {
		return fmt.Errorf("read synchronous: %w", err)
	}
	if want == 0 || got != want {
		return fmt.Errorf("synchronous is %d, %q was requested", got, db.opts.Synchronous)
	}
	return nil
}

func checkVersion() error {
	if text, number, _ := sqlite3.Version(); number < minSQLite {
		return fmt.Errorf("SQLite %s can lose committed rows (its WAL-reset bug); 3.51.3 or newer is needed", text)
	}
	return nil
}
