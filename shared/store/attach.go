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

// SetFault detaches the database for the reason given, which every method then
// returns. Open connections stay as they are.
func (db *DB) SetFault(why error) { db.guard.detach(why) }

// Detach closes every connection and lets no new one through. Transactions that
// run are waited for.
func (db *DB) Detach(ctx context.Context, why error) error {
	db.guard.detach(fmt.Errorf("%w (%w)", errReopening, why))
	for _, pool := range []*sql.DB{db.write, db.read} {
		pool.SetMaxIdleConns(0)
	}
	patience := time.NewTimer(openTimeout)
	defer patience.Stop()
	for db.write.Stats().OpenConnections+db.read.Stats().OpenConnections > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return errInUse
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Opening tells files that were attached one after another apart.
func (db *DB) Opening() int64 { return db.opening.Load() }

// Attach lets connections to the file that is at the path through, and goes on
// with the session in it. The file has the present schema: see OpenFile.
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
	db.swap.Lock() // no transaction sees the session of one file and the tables of another
	defer db.swap.Unlock()
	db.series.forget()
	db.opening.Add(1)
	db.session = session
	db.write.SetMaxIdleConns(writers)
	db.read.SetMaxIdleConns(readers)
	db.guard.attach(file, wal)
	if db.inserts[0] == nil {
		err = db.prepareInserts(ctx)
	} else {
		err = db.write.PingContext(ctx) // a deleted file is rescued through what is open
	}
	if err == nil {
		err = db.guard.attachSHM()
	}
	if err != nil {
		db.guard.detach(err)
	}
	return err
}

// attachSHM remembers which index of the WAL the connections use.
func (g *guard) attachSHM() error {
	shm, err := os.Stat(g.path + "-shm")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted already; the next time it is opened there is one
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shm = shm
	return nil
}

// resumeAt goes on with the session in the file at path; 0: there is none.
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
