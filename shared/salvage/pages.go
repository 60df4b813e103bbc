package salvage

import (
	"bytes"
	"encoding/binary"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	fileHeader = 100
	// sparePages are added to the pages that are in the file and the WAL, for the
	// highest number that a page may have.
	sparePages = 1024
)

var fileMagic = []byte("SQLite format 3\x00")

// Pages are the pages of a damaged database: those of its file, and in place of
// them those of its WAL.
type pages struct {
	file   *device
	wal    *wal
	size   int    // of a page
	count  uint32 // of pages at the last commit
	limit  uint32 // higher than the number of any page
	unread bits   // pages that the device cannot read

	free   bits // pages in the free list
	listed bool // the free list is complete
	mapped bool // there is a pointer map
	last   mapPage
}

// newPages finds the pages of a database and its WAL.
func newPages(file, walFile *device) *pages {
	p := &pages{file: file, wal: readWAL(walFile)}
	if p.size = p.wal.pageSize; p.size == 0 {
		p.size = guessSize(file)
	}
	if p.size == 0 {
		p.size = store.PageSize
	}
	if p.wal.headless {
		p.wal.readHeadless(p.size)
	}
	size := int64(p.size)
	inFile := uint32(min((file.size+size-1)/size, 1<<31)) //nolint:gosec // 2^31 at most
	p.limit = inFile + uint32(len(p.wal.good)+len(p.wal.behind)) + sparePages
	p.count = inFile
	if p.wal.pages > 0 {
		p.count = min(p.wal.pages, p.limit)
	}
	p.unread = newBits(p.limit)
	if first, ok := p.get(1, false); ok {
		p.readFirst(first)
	}
	if !p.mapped {
		p.mapped = p.seemsMapped()
	}
	return p
}

// readFirst reads the first page's description of the file, if it is intact.
func (p *pages) readFirst(first page) {
	head := first.data
	if len(head) < fileHeader || !bytes.Equal(head[:16], fileMagic) || sizeIn(head) != p.size ||
		first.kind() != tableLeaf && first.kind() != tableInterior {
		return
	}
	p.mapped = binary.BigEndian.Uint32(head[52:]) != 0
	p.readFreeList(binary.BigEndian.Uint32(head[32:]), binary.BigEndian.Uint32(head[36:]))
}

// get returns a page as of the last good commit, or with atEnd as of the last
// commit behind the damage of the WAL. Its data is valid until the next read.
func (p *pages) get(number uint32, atEnd bool) (page, bool) {
	if f, found := find(p.wal.behind, number); found && atEnd {
		if data, ok := p.wal.device.read(f.at, p.size); ok {
			return page{number, p.size, data}, true
		}
	}
	if f, found := find(p.wal.good, number); found {
		if data, ok := p.wal.device.read(f.at, p.size); ok {
			return page{number, p.size, data}, true
		}
		p.unread.add(number)
	}
	data, ok := p.file.read(int64(number-1)*int64(p.size), p.size)
	if !ok {
		p.unread.add(number)
		return page{number: number}, false
	}
	return page{number, p.size, data}, len(data) > 0
}
