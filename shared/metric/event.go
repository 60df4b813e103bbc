package metric

import (
	"strings"
	"unicode/utf8"
)

// MaxEventText bounds an event's text, in bytes.
const MaxEventText = 200

// An Event is something that happened, for people to read on the board. It is
// made of words that are known beforehand and of parts that were parsed, never of
// a line of a log.
type Event struct {
	TimeMs int64  // Unix milliseconds
	Source string // of the event: encoder, kernel, systemd, …
	Name   string // what happened
	Reason string // "" where there is none
	Link   string // the address of the link it happened to, or ""
	Text   string
}

// Bounded returns the event with a text of at most MaxEventText bytes on one line.
func (e Event) Bounded() Event {
	e.Text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(e.Text, "\uFFFD"))
	if len(e.Text) > MaxEventText {
		end := MaxEventText
		for !utf8.RuneStart(e.Text[end]) {
			end--
		}
		e.Text = e.Text[:end]
	}
	return e
}
