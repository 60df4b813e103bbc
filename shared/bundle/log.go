package bundle

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/journal"
)

const (
	// maxLines bounds the lines of the log, maxEntries the entries of the journal
	// that are looked at for them.
	maxLines   = 2000
	maxEntries = 500_000
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
		want.Any = append(want.Any, "_SYSTEMD_UNIT="+unit+".service")
	}
	f := journal.Follow(in.Journals, want, journal.Cursor{})
	var lines []string
	since := in.Now.Add(-window)
	_, err := f.Poll(journal.Bounds{Entries: maxEntries, Since: since, Recent: since}, func(e journal.Entry, _ bool) {
		at := time.UnixMicro(int64(e.Realtime)) //nolint:gosec // a time
		lines = append(lines, fmt.Sprintf("%s %s <%s> %s", at.UTC().Format(time.RFC3339), strings.TrimSuffix(e.Get("_SYSTEMD_UNIT"), ".service"), e.Get("PRIORITY"), e.Get("MESSAGE")))
		if len(lines) > 2*maxLines {
			lines = append(lines[:0], lines[maxLines:]...)
		}
	})
	err = errors.Join(err, f.Close())
	if len(lines) == 0 && err == nil {
		err = errors.New("the journal has no lines of the daemons, or they may not be read: root and the group systemd-journal may")
	}
	if len(lines) == 0 {
		return "", err
	}
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n") + "\n", nil
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
