package daemon

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"

	"github.com/taniwha3/thugshells/shared/config"
)

// newLogger builds the logger of c: lines of JSON, or of tint for a console, in
// colour only on a terminal. A file is appended to, and created for the user
// and group alone.
func newLogger(c config.Logging, stdout, stderr io.Writer) (log *slog.Logger, closeLog func() error, err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, nil, fmt.Errorf("logging.level: %w", err)
	}
	out, closeLog := stdout, func() error { return nil }
	switch c.Output {
	case "stdout":
	case "stderr":
		out = stderr
	default:
		f, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("open the log, logging.output: %w", err)
		}
		out, closeLog = f, f.Close
	}
	if c.Format == "console" {
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal(out)})), closeLog, nil
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})), closeLog, nil
}

// terminal reports whether w is a character device, which /dev/null is too:
// nobody sees the colours there.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}
