// Command flakydisk serves an image over NBD as a disk with a volatile write
// cache, whose power can be cut:
//
//	flakydisk IMAGE SOCKET
//
// What is written stays in memory until the client flushes it. The line "cut N" on
// standard input cuts the power in the middle of the next writes, and leaves what
// the disk may then hold: IMAGE.lost without anything that was not flushed, and
// N times, IMAGE.half1 and so on, with a random half of its sectors. The end of
// the input is a clean end.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// patience bounds the wait for enough writes to cut.
const patience = time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: flakydisk IMAGE SOCKET")
		return
	}
	if err := run(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "flakydisk:", err)
	}
}

// run serves until in has a line or ends.
func run(path, socket string, in io.Reader, out io.Writer) error {
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	d, err := newDisk(image)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := serve(conn, d); err != nil {
					fmt.Fprintln(os.Stderr, "flakydisk: a client:", err)
				}
			}()
		}
	}()

	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if line == "" {
		return d.flush()
	}
	var halves int
	if _, err := fmt.Sscanf(line, "cut %d", &halves); err != nil {
		return fmt.Errorf("want cut and a number, got %q", line)
	}
	at := 1 + rand.N(24)
	d.cut(at)
	select {
	case <-d.off:
	case <-time.After(patience):
		return fmt.Errorf("there were never %d sectors unflushed within %s, nothing was cut", at, patience)
	}
	return write(d, path, halves, out)
}

// write leaves the images of what a disk may hold after the cut.
func write(d *disk, path string, halves int, out io.Writer) error {
	_, unflushed, err := d.after(path+".lost", none)
	for n := 0; n < halves && err == nil; n++ {
		_, _, err = d.after(fmt.Sprint(path, ".half", n+1), half)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%d sectors were not flushed, after %d flushes\n", unflushed, d.flushes)
	return err
}
