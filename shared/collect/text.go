package collect

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// distinct makes UTF-8 of a name that is any bytes, and different text of
// different names: each byte that is not UTF-8 becomes \x and two hexadecimal
// digits, and so does a backslash before what looks like that.
func distinct(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, `\x`) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && size == 1 || escapeLike(name[i:]) {
			fmt.Fprintf(&b, `\x%02x`, name[i])
			i++
			continue
		}
		b.WriteString(name[i : i+size])
		i += size
	}
	return b.String()
}

func escapeLike(s string) bool {
	hex := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
	return len(s) >= 4 && s[0] == '\\' && s[1] == 'x' && hex(s[2]) && hex(s[3])
}
