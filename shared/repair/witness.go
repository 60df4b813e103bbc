package repair

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

func sumOf(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

// writeWitness writes a ledger over the beginning of an existing file.
func writeWitness(path string, l store.Ledger) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	block := make([]byte, witnessBytes)
	copy(block, witnessText(l))
	_, err = f.WriteAt(block, 0)
	return errors.Join(err, f.Close())
}

// readWitness returns the ledger that an earlier run wrote; ok is false if there is
// none.
func readWitness(path string) (l store.Ledger, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return store.Ledger{}, false
	}
	defer f.Close()
	block := make([]byte, witnessBytes)
	if _, err := io.ReadFull(f, block); err != nil {
		return store.Ledger{}, false
	}
	return parseWitness(string(block))
}

// witnessOf returns the name of a file that shows that there was an earlier database
// at path: a ballast or a kept file; "": there is none.
func witnessOf(path string) string {
	if _, err := os.Lstat(path + ballastSuffix); err == nil {
		return filepath.Base(path + ballastSuffix)
	}
	kept, err := Kept(path)
	if err != nil || len(kept) == 0 {
		return ""
	}
	return filepath.Base(kept[len(kept)-1])
}

const (
	// witnessEvery is how often the witness is written while samples are captured; it
	// is written sooner when the count has grown by a sixteenth.
	witnessEvery = 5 * time.Minute
	growth       = 16
)

// keepWitness writes the newest ledger into the ballast when it is due.
func (o *Owner) keepWitness(now time.Time) {
	last, written := o.history.last, o.history.written
	if last == written || now.Before(o.history.due) && last.Captured-written.Captured <= written.Captured/growth {
		return
	}
	o.history.due = now.Add(witnessEvery)
	if err := writeWitness(o.path+ballastSuffix, last); err != nil {
		o.log.Debug("the ledger could not be written into the ballast", "error", err)
		return
	}
	o.history.written = last
}

// The witness is the text at the beginning of the ballast. Its words are part of the
// format.
const (
	witnessHead  = "This file keeps room for when the disk is full, and remembers how far the database beside it came.\n"
	witnessBytes = 512
)

// witnessText returns the witness of a ledger.
func witnessText(l store.Ledger) string {
	text := fmt.Sprintf("%scaptured %d delivered %d held %d rejected %d local %d lost %d",
		witnessHead, l.Captured, l.Delivered, l.Held, l.Rejected, l.Local, l.Lost)
	return fmt.Sprintf("%s sum %08x\n", text, sumOf(text))
}

// parseWitness reads a witness; ok is false if the text is none.
func parseWitness(text string) (l store.Ledger, ok bool) {
	body, sum, found := strings.Cut(text, " sum ")
	if !found || !strings.HasPrefix(sum, fmt.Sprintf("%08x\n", sumOf(body))) {
		return store.Ledger{}, false
	}
	_, err := fmt.Sscanf(strings.TrimPrefix(body, witnessHead), "captured %d delivered %d held %d rejected %d local %d lost %d",
		&l.Captured, &l.Delivered, &l.Held, &l.Rejected, &l.Local, &l.Lost)
	for _, n := range []int64{l.Captured, l.Delivered, l.Held, l.Rejected, l.Local, l.Lost} {
		if err != nil || n < 0 || n > 1<<53 {
			return store.Ledger{}, false
		}
	}
	l.Pending = l.Captured - l.Delivered - l.Held - l.Rejected - l.Local - l.Lost
	return l, true
}
