package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
)

const (
	maxLines   = 2000    // of the log
	maxEntries = 100_000 // of the journal, that are looked at in one go
	maxLogTail = 1 << 20 // bytes of a log in a file
)

// log returns the last lines of the daemons: of the file of the log if there is
// one, else of the journal.
func (in Input) log() (string, error) {
	if out := in.Config.Logging.Output; out != "stdout" && out != "stderr" {
		return tail(out)
	}
	want := journal.Selection{Fields: []string{"MESSAGE", "PRIORITY", "_SYSTEMD_UNIT"}}
	for _, unit := range []string{"metrics-collector", "metrics-shipper", "metrics-health"} {
		want.Any = append(want.Any, "_SYSTEMD_UNIT="+unit+".service", "UNIT="+unit+".service") // of it, and of systemd about it
	}
	var lines []string
	err := each(in.Journals, want, in.Now.Add(-window), func(e journal.Entry) {
		at := time.UnixMicro(int64(e.Realtime)) //nolint:gosec // a time
		who := strings.TrimSuffix(e.Get("_SYSTEMD_UNIT"), ".service")
		if who == "init.scope" {
			who = "systemd"
		}
		lines = append(lines, fmt.Sprintf("%s %s <%s> %s", at.UTC().Format(time.RFC3339), who, e.Get("PRIORITY"), e.Get("MESSAGE")))
		if len(lines) > 2*maxLines {
			lines = append(lines[:0], lines[maxLines:]...)
		}
	})
	if len(lines) > 0 { // what could be read is worth more than why the rest could not
		return strings.Join(lines[max(0, len(lines)-maxLines):], "\n") + "\n", nil
	}
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return "", errors.New("the journal has no lines of the daemons, or they may not be read: root and the group systemd-journal may")
	}
	return "", err
}

// each gives the wanted entries of a journal since a time, also of files that were
// rotated away meanwhile.
func each(dirs []string, want journal.Selection, since time.Time, give func(journal.Entry)) error {
	end := journal.Follow(dirs, want, journal.Cursor{})
	_, err := end.Poll(journal.Bounds{Entries: 1}, func(journal.Entry, bool) {})
	// From the first number of the sequence that the live file belongs to.
	f := journal.Follow(dirs, want, journal.Cursor{SeqnumID: end.Cursor().SeqnumID, Seqnum: 1})
	for err == nil {
		var r journal.Report
		r, err = f.Poll(journal.Bounds{Entries: maxEntries, Since: since}, func(e journal.Entry, _ bool) { give(e) })
		if !r.More {
			break
		}
	}
	return errors.Join(err, end.Close(), f.Close())
}

// tail returns the end of a file.
func tail(path string) (string, error) {
	f, info, err := hostfs.OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Seek(max(0, info.Size()-maxLogTail), io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxLogTail))
	return string(text), err
}
