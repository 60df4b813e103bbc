package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func newTestDisk(t *testing.T) (*disk, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	image, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { image.Close() })
	if err := image.Truncate(64 * sectorBytes); err != nil {
		t.Fatal(err)
	}
	d, err := newDisk(image)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func sector(fill byte) []byte { return bytes.Repeat([]byte{fill}, sectorBytes) }

// wantOn checks the first byte of each sector of the image.
func wantOn(t *testing.T, path string, want map[int]byte) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n, b := range want {
		if got := image[n*sectorBytes]; got != b {
			t.Errorf("sector %d of the image holds %q, want %q", n, got, b)
		}
	}
}

func mustWrite(t *testing.T, d *disk, fill byte, n int64, durable bool) {
	t.Helper()
	if err := d.write(sector(fill), n*sectorBytes, durable); err != nil {
		t.Fatal(err)
	}
}

func TestAPowerCutLosesWritesThatWereNotFlushed(t *testing.T) {
	d, path := newTestDisk(t)
	mustWrite(t, d, 'a', 1, false)
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, d, 'b', 1, false) // over what was flushed
	mustWrite(t, d, 'b', 2, false)
	mustWrite(t, d, 'c', 3, true)
	mustWrite(t, d, 'd', 4, false)
	mustWrite(t, d, 'e', 4, true) // newer than the cached one

	got := make([]byte, 4*sectorBytes)
	if err := d.read(got, sectorBytes); err != nil {
		t.Fatal(err)
	}
	if got[0] != 'b' || got[sectorBytes] != 'b' || got[2*sectorBytes] != 'c' || got[3*sectorBytes] != 'e' {
		t.Errorf("before the cut the disk does not read as written last")
	}
	d.cut(2)
	<-d.off
	kept, lost, err := d.after(path+".lost", none)
	if err != nil || kept != 0 || lost != 2 {
		t.Errorf("after the cut: kept %d, lost %d, %v; want 0, 2, nil", kept, lost, err)
	}
	wantOn(t, path+".lost", map[int]byte{1: 'a', 2: 0, 3: 'c', 4: 'e'})
	if err := d.flush(); err == nil {
		t.Error("a flush after the cut was answered")
	}
	if err := d.write(sector('z'), 0, true); err == nil {
		t.Error("a write after the cut was answered")
	}
}

func TestAPowerCutFallsIntoTheMiddleOfWrites(t *testing.T) {
	d, path := newTestDisk(t)
	d.cut(3)
	var written int64
	for d.write(sector('x'), written*sectorBytes, false) == nil {
		written++
	}
	if _, lost, err := d.after(path+".lost", none); written != 3 || lost != 3 || err != nil {
		t.Errorf("the disk took %d sectors and lost %d, %v; want 3, 3, nil", written, lost, err)
	}
}

func TestAPowerCutMayKeepUnflushedWritesInAnyOrder(t *testing.T) {
	d, path := newTestDisk(t)
	for n := range int64(60) {
		mustWrite(t, d, 'x', n, false)
	}
	d.cut(1)
	kept, lost, err := d.after(path+".half", half)
	if err != nil || kept+lost != 60 || kept == 0 || lost == 0 {
		t.Fatalf("after the cut: kept %d, lost %d, %v; want some of each, 60 in all", kept, lost, err)
	}
	image, err := os.ReadFile(path + ".half")
	if err != nil {
		t.Fatal(err)
	}
	if on := bytes.Count(image, []byte{'x'}) / sectorBytes; on != kept {
		t.Errorf("%d sectors are on the image, want %d", on, kept)
	}
}

func TestAClientReadsWritesAndFlushes(t *testing.T) {
	d, path := newTestDisk(t)
	server, conn := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- serve(server, d) }()
	put := func(values ...any) {
		t.Helper()
		var b bytes.Buffer
		for _, v := range values {
			if err := binary.Write(&b, binary.BigEndian, v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	get := func(v any) {
		t.Helper()
		if err := binary.Read(conn, binary.BigEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(want uint32) {
		t.Helper()
		var a struct {
			Magic, Errno uint32
			Cookie       uint64
		}
		if get(&a); a.Magic != responseMagic || a.Errno != want || a.Cookie != 7 {
			t.Fatalf("answered %+v, want errno %d for cookie 7", a, want)
		}
	}

	var hello struct {
		Magic, Option uint64
		Flags         uint16
	}
	if get(&hello); hello.Magic != nbdMagic || hello.Option != optionMagic {
		t.Fatalf("the greeting is %+v", hello)
	}
	put(uint32(fixedNewstyle | noZeroes))
	var reply struct {
		Magic                uint64
		Option, Kind, Length uint32
	}
	put(uint64(optionMagic), uint32(8), uint32(0)) // structured replies
	if get(&reply); reply.Kind != replyUnsupported {
		t.Fatalf("an option that is not known is answered with %+v", reply)
	}
	put(uint64(optionMagic), uint32(optionGo), uint32(6), make([]byte, 6))
	var info struct {
		Kind  uint16
		Size  uint64
		Flags uint16
	}
	get(&reply)
	if get(&info); reply.Kind != replyInfo || info.Size != 64*sectorBytes || info.Flags&sendFlush == 0 {
		t.Fatalf("the export is %+v", info)
	}
	if get(&reply); reply.Kind != replyAck {
		t.Fatalf("the choice is answered with %+v", reply)
	}

	put(uint32(requestMagic), uint16(0), uint16(commandWrite), uint64(7), uint64(sectorBytes), uint32(sectorBytes), sector('w'))
	answer(0)
	wantOn(t, path, map[int]byte{1: 0})
	put(uint32(requestMagic), uint16(0), uint16(commandRead), uint64(7), uint64(sectorBytes), uint32(sectorBytes))
	answer(0)
	got := make([]byte, sectorBytes)
	if get(got); !bytes.Equal(got, sector('w')) {
		t.Error("the client does not read what it wrote")
	}
	put(uint32(requestMagic), uint16(0), uint16(commandFlush), uint64(7), uint64(0), uint32(0))
	answer(0)
	wantOn(t, path, map[int]byte{1: 'w'})
	put(uint32(requestMagic), uint16(0), uint16(commandRead), uint64(7), uint64(1), uint32(sectorBytes))
	answer(errnoInval)
	put(uint32(requestMagic), uint16(0), uint16(commandDisconnect), uint64(7), uint64(0), uint32(0))
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}
