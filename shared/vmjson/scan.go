package vmjson

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads one line, or one tags text, by the grammar of RFC 8259. It
// knows only the shapes that occur there, so nothing nests and nothing recurses.
type scanner struct {
	data   []byte
	pos    int
	spaces bool // white space was seen between tokens
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: "+format, append([]any{s.pos + 1}, args...)...)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.spaces = true
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c || s.pos == len(s.data) {
		return s.errorf("expected %q, found %s", c, s.found())
	}
	s.pos++
	return nil
}

// found words what stands at the current position.
func (s *scanner) found() string {
	if s.pos >= len(s.data) {
		return "the end"
	}
	end := min(len(s.data), s.pos+16)
	return clip(string(s.data[s.pos:end]))
}

// next says whether another element follows in an array or object that closes
// with the given byte, and steps over the comma or the closing byte.
func (s *scanner) next(first bool, closing byte) (bool, error) {
	c := s.peek()
	switch {
	case c == closing && s.pos < len(s.data):
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		return true, nil
	}
	return false, s.errorf("expected ',' or %q, found %s", closing, s.found())
}

// labels reads an object of strings onto dst and holds it to the label rules;
// __name__ is held to the rule of metric names.
func (s *scanner) labels(dst []Label) ([]Label, error) {
	if err := s.expect('{'); err != nil {
		return dst, err
	}
	for first := true; ; first = false {
		more, err := s.next(first, '}')
		if err != nil || !more {
			return dst, err
		}
		if len(dst) == MaxLabels {
			return dst, fmt.Errorf("more than %d labels", MaxLabels)
		}
		name, err := s.str()
		if err != nil {
			return dst, err
		}
		if err := s.expect(':'); err != nil {
			return dst, err
		}
		if s.peek() != '"' {
			return dst, fmt.Errorf("label %s is not a string: %s", clip(name), s.found())
		}
		value, err := s.str()
		if err != nil {
			return dst, err
		}
		if name == "__name__" {
			err = checkName(value)
		} else {
			err = checkLabel(name, value)
		}
		if err != nil {
			return dst, err
		}
		for _, l := range dst {
			if l.Name == name {
				return dst, fmt.Errorf("label %s twice", clip(name))
			}
		}
		dst = append(dst, Label{name, value})
	}
}

// str reads a string. Bytes that are not UTF-8 and halves of surrogate pairs
// are refused: VictoriaMetrics would keep something else.
func (s *scanner) str() (string, error) {
	if err := s.expect('"'); err != nil {
		return "", err
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			raw := s.data[start:s.pos]
			if !utf8.Valid(raw) {
				return "", s.errorf("string is not UTF-8: %s", clip(string(raw)))
			}
			s.pos++
			return string(raw), nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return "", s.errorf("control character in a string: %s", s.found())
		}
		s.pos++
	}
	return "", s.errorf("string without an end")
}

// escaped reads the rest of a string that began at start and has an escape.
func (s *scanner) escaped(start int) (string, error) {
	buf := append([]byte(nil), s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			if !utf8.Valid(buf) {
				return "", s.errorf("string is not UTF-8: %s", clip(string(buf)))
			}
			s.pos++
			return string(buf), nil
		case c < ' ':
			return "", s.errorf("control character in a string: %s", s.found())
		case c != '\\':
			buf = append(buf, c)
			s.pos++
			continue
		}
		if s.pos+1 == len(s.data) {
			break
		}
		switch e := s.data[s.pos+1]; e {
		case '"', '\\', '/':
			buf = append(buf, e)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r, err := s.codePoint()
			if err != nil {
				return "", err
			}
			buf = utf8.AppendRune(buf, r)
			continue
		default:
			return "", s.errorf("not an escape: %s", s.found())
		}
		s.pos += 2
	}
	return "", errors.New("string without an end")
}

// codePoint reads \uXXXX, or two of them where the first is half a pair.
func (s *scanner) codePoint() (rune, error) {
	r, ok := s.hex4()
	if !ok {
		return 0, s.errorf("not an escape: %s", s.found())
	}
	if !utf16.IsSurrogate(r) {
		s.pos += 6
		return r, nil
	}
	s.pos += 6
	low, ok := s.hex4()
	if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
		s.pos += 6
		return pair, nil
	}
	return 0, s.errorf("half a surrogate pair")
}

func (s *scanner) hex4() (rune, bool) {
	if len(s.data)-s.pos < 6 || s.data[s.pos] != '\\' || s.data[s.pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.data[s.pos+2 : s.pos+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
