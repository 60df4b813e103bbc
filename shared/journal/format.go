package journal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// The on-disk format, from systemd's docs/JOURNAL_FILE_FORMAT: little-endian,
// objects at multiples of eight, found by their offset in the file.
const (
	signature = "LPKSHHRH"

	headerBytes = 208 // what every version has: up to tail_entry_monotonic

	objectBytes      = 16 // type, flags, six reserved bytes, size
	entryBytes       = 64 // of an entry before its items
	dataBytes        = 64 // of a data object before its payload
	compactDataBytes = 72
	arrayBytes       = 24 // of an entry array before its items

	typeData  = 1
	typeEntry = 3
	typeArray = 6

	compressed = 1 | 2 | 4 // object flags: XZ, LZ4, ZSTD
)

// Incompatible flags of a file. A reader that does not know one cannot read the file.
const (
	flagXZ      = 1 << 0
	flagLZ4     = 1 << 1
	flagKeyed   = 1 << 2 // keyed hashes, which this reader does not use
	flagZSTD    = 1 << 3
	flagCompact = 1 << 4 // offsets of four bytes in entries and arrays
	flagsKnown  = flagXZ | flagLZ4 | flagKeyed | flagZSTD | flagCompact
)

var (
	// ErrNotJournal says that a file is no journal, or not one any more.
	ErrNotJournal = errors.New("not a journal file")
	// ErrDamaged says that a part of a file that leads to its entries is invalid.
	ErrDamaged = errors.New("the journal file is damaged")
	// ErrUnknownFormat says that a file has a feature which this reader does not know.
	ErrUnknownFormat = errors.New("the journal file has a format that this program does not know")
)

// ID is one of the 128-bit identifiers of a journal: of a boot, of a machine, of
// a sequence of numbers.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads 32 hexadecimal digits.
func ParseID(text string) (id ID, err error) {
	if len(text) != 2*len(id) {
		return id, fmt.Errorf("want 32 hexadecimal digits, got %d bytes", len(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, errors.New("want 32 hexadecimal digits")
	}
	return id, nil
}

// header is the head of a file.
type header struct {
	compact      bool
	seqnumID     ID
	array        uint64 // offset of the first entry array
	entries      uint64
	head, tail   uint64 // sequence numbers of the first and the last entry
	tailRealtime uint64 // microseconds
}

func parseHeader(b []byte) (h header, err error) {
	if len(b) < headerBytes || string(b[:len(signature)]) != signature {
		return h, ErrNotJournal
	}
	flags := binary.LittleEndian.Uint32(b[12:])
	if unknown := flags &^ flagsKnown; unknown != 0 {
		return h, fmt.Errorf("%w: incompatible flags %#x", ErrUnknownFormat, unknown)
	}
	if size := word(b, 88); size < headerBytes {
		return h, fmt.Errorf("%w: a header of %d bytes", ErrDamaged, size)
	}
	h = header{
		compact: flags&flagCompact != 0, array: word(b, 176), entries: word(b, 152),
		head: word(b, 168), tail: word(b, 160), tailRealtime: word(b, 192),
	}
	copy(h.seqnumID[:], b[72:])
	return h, nil
}

// itemBytes is the size of an item of an entry array.
func (h header) itemBytes() uint64 {
	if h.compact {
		return 4
	}
	return 8
}

// entryItemBytes is the size of an item of an entry: an offset, and a hash beside
// it where the file is not compact.
func (h header) entryItemBytes() uint64 {
	if h.compact {
		return 4
	}
	return 16
}

// payloadAt is where the payload of a data object begins.
func (h header) payloadAt() uint64 {
	if h.compact {
		return compactDataBytes
	}
	return dataBytes
}

// offset reads one item.
func (h header) offset(item []byte) uint64 {
	if h.compact {
		return uint64(binary.LittleEndian.Uint32(item))
	}
	return binary.LittleEndian.Uint64(item)
}

// word reads the 64 bits at an offset.
func word(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
