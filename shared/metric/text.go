package metric

import (
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text from outside (names the kernel gives, a server's words, what stands in a
// file) may hold escape sequences, control characters, marks that turn the writing
// round, and bytes that are no text. None of it reaches a terminal, a log or an
// export raw: Quote and OneLine are for a piece of it within a line of ours,
// Clean and CleanWriter for whole lines.

// Quote returns at most most bytes of s in quotes, with … where it was cut. What
// does not print is escaped as in Go.
func Quote[T string | []byte](s T, most int) string {
	if text, cut := head(string(s[:min(len(s), most+1)]), most); cut {
		return strconv.Quote(text) + "…"
	}
	return strconv.Quote(string(s))
}

// OneLine returns s clean and with its white space, line ends included, as single
// spaces: at most most bytes, which end with … where it was cut.
func OneLine(s string, most int) string {
	const mark = "…"
	s, cut := head(s, 4*most)
	text := Clean(strings.Join(strings.Fields(s), " "))
	if !cut && len(text) <= most {
		return text
	}
	text, _ = head(text, max(0, most-len(mark)))
	return text + mark
}

// head returns at most most bytes of s, up to the end of a character.
func head(s string, most int) (text string, cut bool) {
	if len(s) <= most {
		return s, false
	}
	for n := 0; n < utf8.UTFMax && most > 0 && !utf8.RuneStart(s[most]); n++ {
		most--
	}
	return s[:most], true
}

// Clean returns s with what does not print as \uXXXX, which in a line of JSON
// means the same. Line ends and tabs stay.
func Clean(s string) string {
	if clean([]byte(s)) {
		return s
	}
	return string(appendClean(nil, []byte(s)))
}

// clean says whether there is nothing to escape in p.
func clean(p []byte) bool {
	for i := 0; i < len(p); {
		if c := p[i]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(p[i:])
		if !prints(r, size) {
			return false
		}
		i += size
	}
	return true
}

// prints says whether a character of size bytes can be shown: it is neither a
// control character, nor one that only changes how others are shown (of the
// category Cf, as the bidirectional marks), nor an end of a line, nor no character
// at all.
func prints(r rune, size int) bool {
	if r == '\n' || r == '\t' {
		return true
	}
	return (r != utf8.RuneError || size != 1) && !unicode.In(r, unicode.C, unicode.Zl, unicode.Zp)
}

func appendClean(dst, p []byte) []byte {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		switch {
		case prints(r, size):
			dst = append(dst, p[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = appendEscape(appendEscape(dst, high), low)
		default:
			dst = appendEscape(dst, r)
		}
		p = p[size:]
	}
	return dst
}

func appendEscape(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// CleanWriter passes what is written to it on to another writer, clean. The parts
// of a character may come in two writes.
type CleanWriter struct {
	w    io.Writer
	part []byte // the beginning of a character
}

// NewCleanWriter returns a CleanWriter over w.
func NewCleanWriter(w io.Writer) *CleanWriter { return &CleanWriter{w: w} }

// Write implements io.Writer.
func (c *CleanWriter) Write(p []byte) (int, error) {
	if len(c.part) == 0 && clean(p) {
		return c.w.Write(p)
	}
	all := append(c.part, p...)
	whole := len(all)
	for back := 1; back < utf8.UTFMax && back <= len(all); back++ {
		if at := len(all) - back; utf8.RuneStart(all[at]) {
			if !utf8.FullRune(all[at:]) {
				whole = at
			}
			break
		}
	}
	c.part = append([]byte(nil), all[whole:]...)
	if _, err := c.w.Write(appendClean(nil, all[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}
