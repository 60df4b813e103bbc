package salvage

import (
	"bytes"
	"encoding/binary"
)

// guessSize returns the page size at which most pages of a file make sense; 0 if
// none does. Of two that are as good, the size in the file's header is returned.
func guessSize(d *device) (best int) {
	most := 0
	if head, ok := d.read(0, fileHeader); ok && len(head) == fileHeader && bytes.Equal(head[:16], fileMagic) && isPageSize(sizeIn(head)) {
		best = sizeIn(head)
		most = treePages(d, best)
	}
	for size := 512; size <= 65536; size *= 2 {
		if n := treePages(d, size); n > most {
			best, most = size, n
		}
	}
	return best
}

// treePages estimates how many pages of a file are those of a table or an index,
// if its pages have the given size.
func treePages(d *device, size int) (n int) {
	step := max(1, d.size/int64(size)/guessPages)
	for at := int64(0); at < d.size; at += step * int64(size) {
		data, _ := d.read(at, size)
		one := page{number: uint32(at/int64(size) + 1), size: size, data: data} //nolint:gosec // only the first matters
		if one.isTree() {
			n += int(step)
		}
	}
	return n
}

// isTree says whether the header and all cells of a page make sense.
func (p page) isTree() bool {
	if p.kind() == 0 {
		return false
	}
	if _, _, sound := p.header(); !sound {
		return false
	}
	cells := p.cells(nil)
	if p.kind() != tableInterior {
		for _, at := range cells {
			if _, ok := p.cell(at); !ok {
				return false
			}
		}
	}
	return len(cells) > 0
}

func isPageSize(n int) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }

// sizeIn is the page size in the header of a file.
func sizeIn(head []byte) int {
	if size := int(binary.BigEndian.Uint16(head[16:])); size != 1 {
		return size
	}
	return 65536
}
