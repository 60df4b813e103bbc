package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/lmittmann/tint"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/metric"
)

// newLogger builds the logger of c. Its lines go through a queue, so that a log
// without a reader never stops the daemon; close writes the queued lines, within
// closeLimit.
func newLogger(c config.Logging, stdout, stderr io.Writer) (log *slog.Logger, close func() error, err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, nil, fmt.Errorf("logging.level: %w", err)
	}
	out, closeFile := stdout, func() error { return nil }
	switch c.Output {
	case "stdout":
	case "stderr":
		out = stderr
	default:
		f, err := openLog(c.Output)
		if err != nil {
			return nil, nil, fmt.Errorf("open the log, logging.output: %w", err)
		}
		out, closeFile = f, f.Close
	}
	queue := newLogQueue(out, func(w io.Writer) slog.Handler { return handlerFor(c.Format, out, w, slog.LevelDebug) })
	return slog.New(handlerFor(c.Format, out, queue, level)), func() error {
		if !queue.close(closeLimit) {
			return errors.New("it did not accept the last lines")
		}
		return closeFile()
	}, nil
}

// openLog opens the file of the log to append to, and creates it for the user
// and group alone. A pipe without a reader would be waited for, and a device may
// be anything: both are refused.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0o640)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// handlerFor formats records for out and writes them to w. The format auto is
// that of the journal on a stream of the journal, and JSON elsewhere.
func handlerFor(format string, out, w io.Writer, level slog.Level) slog.Handler {
	if format == "auto" && journalStream(out) {
		format = "journal"
	}
	if format != "console" { // which may have colours of its own
		w = metric.NewCleanWriter(w)
	}
	switch format {
	case "console":
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal(out), ReplaceAttr: cleanAttr})
	case "journal":
		return newJournalHandler(w, level)
	}
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
}

// cleanAttr keeps text from elsewhere from speaking to a console.
func cleanAttr(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, metric.Clean(err.Error()))
	}
	switch _, isLevel := a.Value.Any().(slog.Level); {
	case isLevel: // the console words and colours it
	case a.Value.Kind() == slog.KindString, a.Value.Kind() == slog.KindAny:
		a.Value = slog.StringValue(metric.Clean(a.Value.String()))
	}
	return a
}

// journalStream says whether w is the stream that systemd connected to the
// journal. See systemd.exec(5), JOURNAL_STREAM.
func journalStream(w io.Writer) bool {
	f, ok := w.(*os.File)
	stream := os.Getenv("JOURNAL_STREAM")
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", sys.Dev, sys.Ino)
}

// terminal reports whether w is a character device, which /dev/null is too:
// no person sees the colours there.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// A journalHandler writes lines for the journal, which has the time and the name
// of the program already: the priority as sd-daemon(3) has it, the message, and
// the attributes as key=value.
type journalHandler struct {
	attrs slog.Handler // writes the attributes of a record to text
	text  *bytes.Buffer
	lock  chan struct{}
	out   io.Writer
}

func newJournalHandler(w io.Writer, level slog.Level) slog.Handler {
	text := new(bytes.Buffer)
	return &journalHandler{
		text: text, out: w, lock: make(chan struct{}, 1),
		attrs: slog.NewTextHandler(text, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey || a.Key == "daemon") {
				return slog.Attr{}
			}
			return a
		}}),
	}
}

func (h *journalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.lock <- struct{}{}
	defer func() { <-h.lock }()
	h.text.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	line := make([]byte, 0, 64+len(r.Message)+h.text.Len())
	line = fmt.Appendf(line, "<%d>", priority(r.Level))
	line = append(line, strings.NewReplacer("\n", "; ", "\r", " ").Replace(r.Message)...)
	if attrs := bytes.TrimSpace(h.text.Bytes()); len(attrs) > 0 {
		line = append(append(line, ' '), attrs...)
	}
	_, err := h.out.Write(append(line, '\n'))
	return err
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = h.attrs.WithAttrs(attrs)
	return &with
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.attrs = h.attrs.WithGroup(name)
	return &with
}

// priority is a level as syslog(3) numbers it.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}
