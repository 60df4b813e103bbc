package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
)

// patchHead copies a file whose schema makes no sense to the path to, with the
// schema's pages of a fresh file. The first page leads to every table, and the
// tables of all files that this schema was created in begin at the same pages.
// Format: sqlite.org/fileformat2.html, "The Database Header".
func patchHead(ctx context.Context, from, to string) (err error) {
	pages, err := freshSchema(ctx, to)
	if err != nil {
		return err
	}
	if err := removeAll(to); err != nil {
		return err
	}
	for _, part := range []string{"", "-wal"} {
		f, err := os.Open(from + part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(copyFile(f, to+part), f.Close()); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := pages[1]
	head[18], head[19] = 2, 2                                                   // write-ahead logging
	binary.BigEndian.PutUint32(head[28:], uint32(max(1, info.Size()/PageSize))) //nolint:gosec // fewer than 2^32 pages
	clear(head[32:40])                                                          // no free pages: nobody looks for them
	copy(head[92:96], head[24:28])                                              // the page count holds
	for number, page := range pages {
		if _, err := f.WriteAt(page, int64(number-1)*PageSize); err != nil {
			return err
		}
	}
	return nil
}

// freshSchema makes a fresh file at path and returns the pages of its table of
// tables, by number.
func freshSchema(ctx context.Context, path string) (map[uint32][]byte, error) {
	if err := CreateEmpty(path); err != nil {
		return nil, err
	}
	if err := makeTables(ctx, path); err != nil {
		return nil, err
	}
	// Leaving the log moves everything into the file.
	pool := sql.OpenDB(connector{dsn(path, url.Values{"_journal_mode": {"DELETE"}}), setUpReader, nil})
	if err := errors.Join(pool.PingContext(ctx), pool.Close()); err != nil {
		return nil, err
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pages := map[uint32][]byte{}
	if err := treeOf(file, 1, pages); err != nil {
		return nil, fmt.Errorf("read the schema of a fresh file: %w", err)
	}
	return pages, nil
}

// treeOf gathers the pages of a table's tree, from page number on downwards.
// Format: sqlite.org/fileformat2.html, "B-tree Pages".
func treeOf(file []byte, number uint32, into map[uint32][]byte) error {
	begin := int(number-1) * PageSize
	if number == 0 || begin+PageSize > len(file) || into[number] != nil {
		return ErrDamaged
	}
	page := file[begin : begin+PageSize]
	into[number] = page
	at := 0
	if number == 1 {
		at = 100
	}
	const interior, leaf = 5, 13
	switch page[at] {
	case leaf:
		return nil
	case interior:
	default:
		return ErrDamaged
	}
	cells := int(binary.BigEndian.Uint16(page[at+3:]))
	children := []uint32{binary.BigEndian.Uint32(page[at+8:])}
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(page[at+12+2*i:]))
		if cell+4 > PageSize {
			return ErrDamaged
		}
		children = append(children, binary.BigEndian.Uint32(page[cell:]))
	}
	for _, child := range children {
		if err := treeOf(file, child, into); err != nil {
			return err
		}
	}
	return nil
}
