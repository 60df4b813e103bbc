package repair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// The WAL's format: sqlite.org/fileformat2.html, "The Write-Ahead Log".
const (
	walMagic    = 0x377f0682
	walHeader   = 32
	frameHeader = 24
)

// A walState is what a WAL has in it.
type walState struct {
	frames int // pages up to the last commit that SQLite will find
	beyond int // commits after the first frame that is broken
	broken bool
	head   string // of the file: another one for each use of it
}

// readWAL reads a WAL as SQLite's recovery does, and on beyond the
// first frame that does not fit: SQLite takes that for the end, and everything
// after it is gone without a word. A single commit there may be one that a power
// cut tore; more than one, or a header that is none, is damage.
// Format: sqlite.org/fileformat2.html, "The Write-Ahead Log".
func readWAL(r io.Reader) (s walState, err error) {
	head := make([]byte, walHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return s, nil // it was never begun
		}
		return s, err
	}
	empty := true
	for _, b := range head {
		empty = empty && b == 0
	}
	if empty {
		return s, nil // a power cut came before its first sync
	}
	s.head = string(head)
	magic := binary.BigEndian.Uint32(head)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	size := int(binary.BigEndian.Uint32(head[8:]))
	sum := checksum(order, [2]uint32{}, head[:24])
	if magic&^1 != walMagic || size < 512 || size > 65536 || size&(size-1) != 0 ||
		sum != [2]uint32{binary.BigEndian.Uint32(head[24:]), binary.BigEndian.Uint32(head[28:])} {
		s.broken = true
		return s, nil
	}
	salt := string(head[16:24])
	frame := make([]byte, frameHeader+size)
	for n := 1; ; n++ {
		if _, err := io.ReadFull(r, frame); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			return s, err
		}
		ofThis, commit := string(frame[8:16]) == salt, binary.BigEndian.Uint32(frame[4:]) != 0
		if s.beyond == 0 && !s.broken {
			next := checksum(order, checksum(order, sum, frame[:8]), frame[frameHeader:])
			if ofThis && next == [2]uint32{binary.BigEndian.Uint32(frame[16:]), binary.BigEndian.Uint32(frame[20:])} {
				sum = next
				if commit {
					s.frames = n
				}
				continue
			}
			s.broken = true
		}
		// Frames of an earlier use of the file have another salt.
		if ofThis && commit {
			s.beyond++
		}
	}
	s.broken = s.beyond > 1
	return s, nil
}

// checksum goes on with the sum that the WAL's frames carry.
func checksum(order binary.ByteOrder, sum [2]uint32, data []byte) [2]uint32 {
	for ; len(data) >= 8; data = data[8:] {
		sum[0] += order.Uint32(data) + sum[1]
		sum[1] += order.Uint32(data[4:]) + sum[0]
	}
	return sum
}

// keepDamagedWAL copies a damaged WAL before SQLite drops what it cannot read of
// it, and says so. That it cannot be kept is said as well; it must not keep the
// database from being opened.
func (o *Owner) keepDamagedWAL() {
	wal := o.path + "-wal"
	f, err := os.Open(wal)
	if err != nil {
		return
	}
	defer f.Close()
	s, err := readWAL(f)
	if err != nil || !s.broken || s.head == o.wal.kept {
		return
	}
	to := keptName(o.path, time.Now()) + "-wal"
	kept := "kept as " + to
	if err = copyFile(f, to); err == nil {
		o.wal.kept = s.head
	} else {
		kept = "it could not be kept"
	}
	o.wal.unsaid = fmt.Sprintf("the write-ahead log was damaged; at least %d transactions in it are lost, which held an unknown number of samples; %s", s.beyond, kept)
	o.log.Error("the write-ahead log is damaged; data after the damage is lost, and a copy is kept",
		"transactions_lost", s.beyond, "frames_good", s.frames, "kept", to, "error", fmt.Sprint(err))
}

func copyFile(from *os.File, to string) (err error) {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}
