package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

const (
	writers = 1 // connections
	readers = 2
)

// SetFault detaches the database: every method fails with the given reason. Open
// connections stay open.
func (db *DB) SetFault(why error) { db.guard.detach(why) }

// Detach waits for running transactions, closes every connection and allows no new
// one.
func (db *DB) Detach(ctx context.Context, why error) error {
	db.guard.detach(fmt.Errorf("%w (%w)", errReopening, why))
	for _, pool := range []*sql.DB{db.write, db.read} {
		pool.SetMaxIdleConns(0)
	}
	timeout := time.NewTimer(openTimeout)
	defer timeout.Stop()
	for db.write.Stats().OpenConnections+db.read.Stats().OpenConnections > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return errInUse
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Opening is the number of files that were attached: it changes with each.
func (db *DB) Opening() int64 { return db.opening.Load() }

// Attach allows connections to the file at the path and continues the session in
// it. The file must have the present schema: see OpenFile.
func (db *DB) Attach(ctx context.Context) error {
	db.attaching.Lock()
	defer db.attaching.Unlock()
	session, err := db.resumeAt(ctx, db.path)
	if err != nil {
		return err
	}
	file, err := os.Stat(db.path)
	if err != nil {
		return err
	}
	wal, err := os.Stat(db.path + "-wal")
	if err != nil {
		return err
	}
	db.swap.Lock() // a transaction must not use the session of one file with the tables of another
	defer db.swap.Unlock()
	db.series.reset()
	db.opening.Add(1)
	db.session = session
	db.write.SetMaxIdleConns(writers)
	db.read.SetMaxIdleConns(readers)
	db.guard.attach(file, wal)
	if db.inserts[0] == nil {
		err = db.prepareInserts(ctx)
	} else {
		err = db.write.PingContext(ctx) // opens a connection: through it a deleted file can be rescued
	}
	if err == nil {
		err = db.guard.attachSHM()
	}
	if err != nil {
		db.guard.detach(err)
	}
	return err
}

// attachSHM notes which index of the WAL the connections use.
func (g *guard) attachSHM() error {
	shm, err := os.Stat(g.path + "-shm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // already deleted; the next opening makes one
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shm = shm
	return nil
}

// resumeAt continues the session in the file at path and returns its number; 0:
// there is no session.
func (db *DB) resumeAt(ctx context.Context, path string) (num int64, err error) {
	if db.begun == nil {
		return 0, nil
	}
	one, err := OpenFile(ctx, path, db.opts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, one.Close()) }()
	return one.resume(ctx, *db.begun)
}
