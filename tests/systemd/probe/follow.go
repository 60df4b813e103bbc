package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/journal"
)

// follow follows the machine's journal from its end until an entry with the last
// message, as the collector does: 2,000 entries at most, then a pause. It prints "NUMBER
// MESSAGE" for every entry and at the end "skipped N", the numbers that it was not given.
func follow(out io.Writer, lastMessage string) error {
	w := bufio.NewWriter(out)
	defer w.Flush()
	f := journal.Follow(journal.Here(), journal.Selection{Fields: []string{"MESSAGE"}}, journal.Cursor{})
	defer f.Close()
	last, skipped, pause := false, uint64(0), time.Tick(time.Second)
	for {
		r, err := f.Poll(journal.Bounds{Entries: 2000}, func(e journal.Entry, _ bool) {
			message := strings.ReplaceAll(e.Get("MESSAGE"), "\n", " ")
			fmt.Fprintf(w, "%d %s\n", e.Seqnum, message)
			last = last || message == lastMessage
		})
		skipped += r.Vanished
		if r.Restarts > 0 {
			return errors.New("another journal was started")
		}
		if err != nil { // a file may go while it is opened
			fmt.Fprintln(os.Stderr, "probe:", err)
		}
		if last {
			_, err := fmt.Fprintf(w, "skipped %d\n", skipped)
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		<-pause
	}
}
