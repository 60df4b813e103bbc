package metric

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"
)

// raw returns what must not be in text that is shown: any control character but
// the end of a line and a tab, format characters, separators of lines, and bytes
// that are no text.
func raw(s string) string {
	var found []rune
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		bad := r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 ||
			unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029 || r >= 0xe000 && r < 0xf900
		if bad {
			found = append(found, r)
		}
	}
	return string(found)
}

// evil is every kind of character that must not be shown.
var evil = []string{"\x1b]0;pwn\x07", "\u009b31mRED", "\u202eevil\u202c", "\u2066x\u2069", "\x7f", "\x00", "\u2028", "\u2029", "\u200b", "\ufeff", "\u00ad", "\U000e0001", "\ue000", "\xff\xfe", "\xc3", "\u0085", "a\rb", "\b\b\b", "\u061c"}

func TestTextFromOutsideIsEscapedOnThePage(t *testing.T) {
	for _, s := range append(evil, strings.Join(evil, "é\n")) {
		for name, got := range map[string]string{"Clean": Clean(s), "OneLine": OneLine(s, 1000), "Quote": Quote(s, 1000), "cut": Quote(s, 2) + OneLine(s, 2)} {
			if bad := raw(got); bad != "" || !utf8.ValidString(got) {
				t.Errorf("%s(%q) = %q has %q", name, s, got, bad)
			}
			if name != "Clean" && strings.Contains(got, "\n") {
				t.Errorf("%s(%q) = %q has a second line", name, s, got)
			}
		}
	}
}

func TestPrintableTextIsUnchanged(t *testing.T) {
	for _, s := range []string{"", "plain", "żółw 日本語 العربية עברית €", "a\tb\nc", "é", "🦀", `\u202e`, "\u00a0", "\ufffd"} {
		if got := Clean(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	for s, want := range map[string]string{" a \n\tb\u0085 c\u2028": "a b c", "a\x1b[1m": `a\u001b[1m`, "\U000e0001": `\udb40\udc01`} {
		if got := OneLine(s, 100); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for _, tt := range []struct {
		s    string
		most int
		want string
	}{{"abc", 3, `"abc"`}, {"abcd", 3, `"abc"…`}, {"aéb", 2, `"a"…`}, {"aé", 3, `"aé"`}, {"\xff\xff\xff\xff\xff\xff", 4, `"\xff\xff\xff\xff"…`}, {"abc", 0, `""…`}, {"", 0, `""`}} {
		if got := Quote(tt.s, tt.most); got != tt.want {
			t.Errorf("%q at %d: %s, want %s", tt.s, tt.most, got, tt.want)
		}
		if got := Quote([]byte(tt.s), tt.most); got != tt.want {
			t.Errorf("%q at %d: %s, want %s", tt.s, tt.most, got, tt.want)
		}
	}
}

// TestACleanLineOfJSONMeansTheSame: what is exported can be imported again.
func TestACleanLineOfJSONMeansTheSame(t *testing.T) {
	for _, s := range evil {
		line := AppendJSONString(nil, s)
		var before, after string
		if err := json.Unmarshal(line, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(Clean(string(line))), &after); err != nil || before != after {
			t.Errorf("%q became %q (%v)", before, after, err)
		}
	}
}

func FuzzCleanWriter(f *testing.F) {
	for _, s := range evil {
		f.Add([]byte(s), 1)
	}
	f.Add([]byte("a\nżółw 🦀 \xf0\x9f\xa6"), 3)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		var whole, parts bytes.Buffer
		NewCleanWriter(&whole).Write(data)
		w := NewCleanWriter(&parts)
		if size = size % 7; size < 1 {
			size = 1
		}
		for rest := data; len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := w.Write(rest[:n]); written != n || err != nil {
				t.Fatal(written, err)
			}
			rest = rest[n:]
		}
		if whole.String() != parts.String() {
			t.Errorf("%q at once, %q in parts of %d", whole.String(), parts.String(), size)
		}
		if bad := raw(parts.String()); bad != "" {
			t.Errorf("%q has %q", parts.String(), bad)
		}
		if utf8.Valid(data) && whole.String() != Clean(string(data)) {
			t.Errorf("%q, Clean says %q", whole.String(), Clean(string(data)))
		}
	})
}

func TestACleanWriterReportsTheErrorOfWriting(t *testing.T) {
	w := NewCleanWriter(iotest.TruncateWriter(io.Discard, 0))
	if n, err := w.Write([]byte("a\x1b")); n != 2 || err != nil {
		t.Error(n, err)
	}
	if _, err := NewCleanWriter(failing{}).Write([]byte("\x1b")); err == nil {
		t.Error("an error of writing was lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
