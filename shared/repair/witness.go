package repair

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"

	"github.com/taniwha3/thugshells/shared/store"
)

func sumOf(text string) uint32 { return crc32.ChecksumIEEE([]byte(text)) }

// writeWitness writes a ledger into a file that is there, over its beginning.
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

// readWitness returns the ledger that an earlier run wrote; ok is false if there
// is none.
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
