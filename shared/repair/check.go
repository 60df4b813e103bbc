package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// unreadableLimit is after how many checks in a row a file that the device cannot
	// read counts as damaged.
	unreadableLimit = 6
	// clearedLimit is how often an error may report damage of a file whose full check
	// passes. After that the file is rewritten, which loses no readable row.
	clearedLimit = 3
	// samplePages bounds the pages that are read to see whether a file is the remains
	// of a database.
	samplePages = 200
)

// errNotOurs is returned for a file that never was one of our databases.
var errNotOurs = errors.New("not an SQLite database and was left untouched; set storage.path to another file")

// openFile opens the file at db's path without db's guard.
func openFile(ctx context.Context, db *store.DB) (one *store.DB, err error) {
	// Opening a file for writing may change it, so its version is read first.
	version, err := store.VersionOf(ctx, db.Path())
	if Refused(err) {
		return nil, err
	}
	if err == nil && version > store.SchemaVersion {
		return nil, fmt.Errorf("%w (schema %d, this program knows %d)", store.ErrNewerSchema, version, store.SchemaVersion)
	}
	one, err = store.OpenFile(ctx, db.Path(), db.Options())
	return one, damagedSchema(err)
}

// verify opens the file, checks it as far as that is cheap or completely, and
// attaches the database to it.
func (o *Owner) verify(ctx context.Context, whole bool) error {
	one, err := openFile(ctx, o.db)
	if err != nil {
		return err
	}
	err = o.examine(ctx, one, whole)
	if err == nil {
		err = o.record(ctx, one)
	}
	if err = errors.Join(err, one.Close()); err == nil {
		err = o.db.Attach(ctx)
	}
	return damagedSchema(err)
}

// examine fails if the file is damaged. Damage that this process met twice, or that
// another process reported, counts until a full check passes.
func (o *Owner) examine(ctx context.Context, one *store.DB, whole bool) error {
	if err := one.Check(ctx); err != nil {
		return err
	}
	met := o.db.DamagedTwice()
	if met == nil {
		request, err := one.RequestedRepair(ctx)
		if err != nil {
			return err
		}
		if request != "" {
			met = fmt.Errorf("another process reported it: %s", request)
		}
	}
	if met != nil && (!whole || o.tries.cleared >= clearedLimit) {
		return fmt.Errorf("%w: %w", store.ErrDamaged, met) // met may be an error without damage
	}
	if whole {
		if err := one.CheckWhole(ctx); err != nil {
			return err
		}
	}
	if met == nil {
		return nil
	}
	if err := one.DropRepairRequest(ctx); err != nil {
		return err
	}
	o.tries.cleared++
	o.db.ResetFaults()
	o.log.Warn("an error suggested damage, but the full integrity check passed; the database stays in use",
		"database", o.path, "cause", met.Error(), "times", o.tries.cleared)
	return nil
}

// certain checks, before a file is replaced, that it is damaged: the device reads
// all of it, and the full check fails. It returns the damage; nil means that the
// file is sound and the database is open.
//
// SQLite also returns SQLITE_CORRUPT for a page that the device failed to read
// (os_unix.c, unixRead: EIO becomes SQLITE_IOERR_CORRUPTFS, and that
// SQLITE_CORRUPT), and a card that was away for a moment has lost nothing.
func (o *Owner) certain(ctx context.Context, damage error) error {
	if o.tries.unreadable >= unreadableLimit {
		return damage
	}
	if err := o.readAll(ctx, o.path); err != nil {
		return err
	}
	return o.verify(ctx, true)
}

// readAll reads all bytes of a database and its WAL. This process must have no
// connection open.
func readAll(ctx context.Context, path string) error {
	buf := make([]byte, 256<<10)
	for _, part := range []string{"", "-wal"} {
		f, err := os.Open(path + part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrDevice, err)
		}
		for at := int64(0); err == nil; at += int64(len(buf)) {
			if err = ctx.Err(); err == nil {
				_, err = f.ReadAt(buf, at)
			}
		}
		if closing := f.Close(); !errors.Is(err, io.EOF) || closing != nil {
			return fmt.Errorf("%w: %w", store.ErrDevice, errors.Join(err, closing))
		}
	}
	return nil
}

// damagedSchema reports damage for an error about a missing table or column: every
// file of ours has them, so the schema is damaged.
func damagedSchema(err error) error {
	if store.ContradictsSchema(err) {
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return err
}

// isOurFile fails for a file that never was one of our databases, so that a wrong
// path in the configuration does not destroy the file there. The remains of a
// database begin like one, consist of its pages, or have its WAL beside them.
func isOurFile(path string, size int64) error {
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
		return fmt.Errorf("open the database: %w%s", err, ownership(path))
	}
	defer f.Close()
	head := make([]byte, 16)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the database: %w", err)
	}
	if bytes.HasPrefix([]byte("SQLite format 3\x00"), bytes.TrimRight(head, "\x00")) && head[0] != 0 {
		return nil
	}
	if isZero(f, min(size, zeroBytes)) {
		return nil // a power cut leaves such files
	}
	pages, alike := 0, 0
	step := max(store.PageSize, size/samplePages/store.PageSize*store.PageSize)
	for at := int64(store.PageSize); at < size && pages < samplePages; at += step {
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

// zeroBytes bounds how much of a file is read to see whether it is all zeros.
const zeroBytes = 1 << 20

func isZero(f io.ReaderAt, size int64) bool {
	block := make([]byte, 4096)
	for at := int64(0); at < size; at += int64(len(block)) {
		n, err := f.ReadAt(block, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		for _, b := range block[:n] {
			if b != 0 {
				return false
			}
		}
	}
	return true
}

// ownership describes the owner of a file and this process, for an error of opening
// the file.
func ownership(path string) string {
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

// isDamage says whether an error reports damage of the file.
func isDamage(err error) bool { return store.FaultOf(err) == store.FaultDamaged }
