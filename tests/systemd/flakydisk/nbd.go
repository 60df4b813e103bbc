package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The part of the NBD protocol that a client needs which asks for one export
// and then reads, writes and flushes it:
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
const (
	nbdMagic      = 0x4e42444d41474943 // "NBDMAGIC"
	optionMagic   = 0x49484156454f5054 // "IHAVEOPT"
	optionReply   = 0x0003e889045565a9
	requestMagic  = 0x25609513
	responseMagic = 0x67446698

	fixedNewstyle = 1 << 0
	noZeroes      = 1 << 1

	optionExportName = 1
	optionAbort      = 2
	optionGo         = 7

	replyAck         = 1
	replyInfo        = 3
	replyUnsupported = 1<<31 | 1

	hasFlags  = 1 << 0
	sendFlush = 1 << 2
	sendFUA   = 1 << 3

	commandRead       = 0
	commandWrite      = 1
	commandDisconnect = 2
	commandFlush      = 3
	flagFUA           = 1 << 0

	errnoIO    = 5
	errnoInval = 22

	mostOption  = 64 << 10
	mostRequest = 32 << 20
)

// serve speaks NBD with one client until it leaves.
func serve(conn net.Conn, d *disk) error {
	c := client{r: bufio.NewReader(conn), w: bufio.NewWriter(conn)}
	if chosen, err := c.negotiate(d.size); err != nil || !chosen {
		return err
	}
	for {
		if more, err := c.request(d); err != nil || !more {
			return err
		}
	}
}

type client struct {
	r *bufio.Reader
	w *bufio.Writer
}

func (c client) get(v any) error { return binary.Read(c.r, binary.BigEndian, v) }

// send writes the values, each big endian, and flushes.
func (c client) send(values ...any) error {
	for _, v := range values {
		if err := binary.Write(c.w, binary.BigEndian, v); err != nil {
			return err
		}
	}
	return c.w.Flush()
}

// negotiate answers options until the client has chosen the export, or left.
func (c client) negotiate(size int64) (chosen bool, err error) {
	if err := c.send(uint64(nbdMagic), uint64(optionMagic), uint16(fixedNewstyle|noZeroes)); err != nil {
		return false, err
	}
	var flags uint32
	if err := c.get(&flags); err != nil {
		return false, err
	}
	transmission := uint16(hasFlags | sendFlush | sendFUA)
	for {
		var option struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := c.get(&option); err != nil {
			return false, err
		}
		if option.Magic != optionMagic || option.Length > mostOption {
			return false, fmt.Errorf("option %d of %d bytes with magic %#x", option.Option, option.Length, option.Magic)
		}
		if _, err := c.r.Discard(int(option.Length)); err != nil {
			return false, err
		}
		switch option.Option {
		case optionExportName:
			zeroes := make([]byte, 124)
			if flags&noZeroes != 0 {
				zeroes = nil
			}
			return true, c.send(uint64(size), transmission, zeroes)
		case optionGo:
			if err := c.send(uint64(optionReply), option.Option, uint32(replyInfo), uint32(12), uint16(0), uint64(size), transmission); err != nil {
				return false, err
			}
			return true, c.send(uint64(optionReply), option.Option, uint32(replyAck), uint32(0))
		case optionAbort:
			return false, c.send(uint64(optionReply), option.Option, uint32(replyAck), uint32(0))
		}
		if err := c.send(uint64(optionReply), option.Option, uint32(replyUnsupported), uint32(0)); err != nil {
			return false, err
		}
	}
}

// request answers one request. More is false after a disconnect.
func (c client) request(d *disk) (more bool, err error) {
	var q struct {
		Magic       uint32
		Flags, Type uint16
		Cookie      uint64
		Offset      int64
		Length      uint32
	}
	if err := c.get(&q); err != nil {
		return false, err
	}
	if q.Magic != requestMagic || q.Length > mostRequest {
		return false, fmt.Errorf("request of %d bytes with magic %#x", q.Length, q.Magic)
	}
	var data []byte
	err = errUnaligned
	switch q.Type {
	case commandRead:
		data = make([]byte, q.Length)
		err = d.read(data, q.Offset)
	case commandWrite:
		b := make([]byte, q.Length)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return false, err
		}
		err = d.write(b, q.Offset, q.Flags&flagFUA != 0)
	case commandFlush:
		err = d.flush()
	case commandDisconnect:
		return false, d.flush()
	}
	errno := uint32(0)
	switch {
	case errors.Is(err, errGone):
		return false, err // no answer: the power is off
	case errors.Is(err, errUnaligned):
		errno, data = errnoInval, nil
	case err != nil:
		errno, data = errnoIO, nil
	}
	return true, c.send(uint32(responseMagic), errno, q.Cookie, data)
}
