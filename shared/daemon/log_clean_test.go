package daemon

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/taniwha3/thugshells/shared/config"
)

func TestTextFromOutsideIsCleanedInTheLog(t *testing.T) {
	const evil = "\x1b]0;pwn\x07 \u009b31m \u202e \x7f \u2028 \ufeff \xff a\nb"
	for _, format := range []string{"json", "console", "journal"} {
		var out bytes.Buffer
		log, closeLog, err := newLogger(config.Logging{Level: "info", Format: format, Output: "stdout"}, &out, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		log.With("of", evil).Warn("said", "text", evil, "error", errors.New(evil), slog.Group("g", "inner", evil), "list", []string{evil})
		if err := closeLog(); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.Count(text, "\n") != 1 || strings.Count(text, "pwn") != 5 {
			t.Errorf("%s: %q", format, text)
		}
		for _, r := range strings.TrimSuffix(text, "\n") {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) {
				t.Errorf("%s: %q in %q", format, r, text)
			}
		}
	}
}

func TestTextFromOutsideIsCleanedOnTheTerminal(t *testing.T) {
	const evil = "\x1b]0;pwn\x07\u009b31m\u202e"
	for _, args := range [][]string{{"-" + evil}, {"-config", "/nowhere/" + evil}, {"-config", "/nowhere/" + evil, "-check"}, {evil}} {
		var out, errs bytes.Buffer
		exit := Program{Name: "metrics-collector"}.main(args, &out, &errs)
		if text := out.String() + errs.String(); exit != exitUsage || !strings.Contains(text, "pwn") || strings.ContainsAny(text, "\x1b\x07\u009b\u202e") {
			t.Errorf("%q: exit status %d, %q", args, exit, text)
		}
	}
}
