package journaltest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// An Entry is one of Bytes: its fields are NAME=value.
type Entry struct {
	Realtime, Monotonic int64 // microseconds
	Boot                string
	Fields              []string
}

// Offsets and sizes of the format, written down apart from the reader's: systemd's
// docs/JOURNAL_FILE_FORMAT.
const (
	headBytes, entryHead, arrayHead = 272, 64, 24
	kindData, kindEntry, kindArray  = 1, 3, 6
)

// Bytes is a file of the entries without the hash tables, which take megabytes and
// are not read. The first entry has the number 1. It needs no program.
func Bytes(compact bool, entries []Entry) []byte {
	w := writer{b: make([]byte, headBytes), compact: compact}
	copy(w.b, "LPKSHHRH")
	w.b[12] = 1 << 2 // keyed hashes
	item, arrayItem := 16, 8
	if compact {
		w.b[12] |= 1 << 4
		item, arrayItem = 4, 4
	}
	w.put(88, headBytes)
	copy(w.b[72:], "a sequence of id")
	w.put(152, uint64(len(entries)))
	w.put(160, uint64(len(entries)))
	w.put(168, 1)
	known := map[string]int{}
	// Arrays are made when they are needed, each twice as large as the one before:
	// what is written stays where it is when the file grows.
	last, array, used, room := 176, 0, 0, 2
	for i, e := range entries {
		var items []int
		for _, f := range e.Fields {
			if known[f] == 0 {
				known[f] = w.data(f)
			}
			items = append(items, known[f])
		}
		at := w.object(kindEntry, entryHead+len(items)*item)
		w.put(at+16, uint64(i+1))
		w.put(at+24, uint64(e.Realtime))
		w.put(at+32, uint64(e.Monotonic))
		boot, err := hex.DecodeString(e.Boot)
		if err != nil {
			panic(fmt.Sprintf("BUG: no boot id: %q", e.Boot))
		}
		copy(w.b[at+40:at+56], boot)
		for k, v := range items {
			binary.LittleEndian.PutUint32(w.b[at+entryHead+k*item:], uint32(v))
		}
		w.put(192, uint64(e.Realtime))
		if array == 0 || used == room {
			room *= 2
			array, used = w.object(kindArray, arrayHead+room*arrayItem), 0
			w.put(last, uint64(array))
			last = array + 16
		}
		binary.LittleEndian.PutUint32(w.b[array+arrayHead+used*arrayItem:], uint32(at))
		used++
	}
	return w.b
}

type writer struct {
	b       []byte
	compact bool
}

func (w *writer) put(at int, v uint64) { binary.LittleEndian.PutUint64(w.b[at:], v) }

func (w *writer) object(kind byte, size int) int {
	at := len(w.b)
	w.b = append(w.b, make([]byte, (size+7)/8*8)...)
	w.b[at] = kind
	w.put(at+8, uint64(size))
	return at
}

func (w *writer) data(text string) int {
	head := 64
	if w.compact {
		head = 72
	}
	at := w.object(kindData, head+len(text))
	w.put(at+56, 2) // by how many entries it is used: more than one
	copy(w.b[at+head:], text)
	return at
}
