package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/taniwha3/thugshells/shared/metric"
)

// misread returns a sentence for each text of the configuration that is
// accepted as it stands and was probably meant as something else.
func misread(c Config) []string {
	var all []string
	eachText(reflect.ValueOf(c), "", "", func(key, want, text string) {
		if problem := misreadText(want, text); problem != "" {
			all = append(all, key+": "+problem)
		}
	})
	return all
}

// eachText calls f with every text below v, its key in the file and the kind that
// its want tag names.
func eachText(v reflect.Value, key, want string, f func(key, want, text string)) {
	switch v.Kind() {
	case reflect.Struct:
		for field, inner := range v.Fields() {
			eachText(inner, join(key, field.Tag.Get("yaml")), field.Tag.Get("want"), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), fmt.Sprintf("%s[%d]", key, i), want, f)
		}
	case reflect.String:
		f(key, want, v.String())
	}
}

var (
	variable = regexp.MustCompile(`\$(?:\{|\(|[A-Za-z_])`)
	// placeholder is what templates are made with, and systemd's specifiers.
	placeholder = regexp.MustCompile(`\{\{|\}\}|<%|\{%|^<[A-Za-z][\w .-]*>$|@[A-Za-z_]\w*@|%\([A-Za-z]|^%[A-Za-z]$|%[G-Zg-z](?:$|[^A-Za-z])`)
)

func misreadText(want, text string) string {
	switch {
	case variable.MatchString(text):
		return fmt.Sprintf("%s is used literally; variables are not replaced", quote(text))
	case placeholder.MatchString(text) && want == "label":
		return fmt.Sprintf("%s is used literally; placeholders are not replaced", metric.Quote(text, 60))
	case placeholder.MatchString(text) && !strings.HasPrefix(want, "pattern"):
		return fmt.Sprintf("%s is used literally; placeholders are not replaced", quote(text))
	case strings.ContainsFunc(text, unseen):
		return fmt.Sprintf("%s contains a character that is invisible or looks like a space; it is part of the value", quote(text))
	case quoted(text):
		return fmt.Sprintf(`the quotes of %s are part of the value; use ' or ", or none`, quote(text))
	}
	switch want {
	case "pattern", "pattern or empty":
		return misreadPattern(text)
	case "new path", "path or empty":
		return misreadPath(want, text)
	case "mountpoint":
		if strings.ContainsAny(text, "*?[") {
			return fmt.Sprintf("%s is one mountpoint of this name; patterns are not supported here", quote(text))
		}
		if strings.HasPrefix(text, "/dev/") {
			return fmt.Sprintf("%s is a device; write the directory where it is mounted", quote(text))
		}
	}
	return ""
}

func misreadPath(want, text string) string {
	switch {
	case strings.HasPrefix(text, "~"):
		return fmt.Sprintf("%s is a path in the working directory; ~ is not replaced by a home directory", quote(text))
	case scheme.MatchString(text), strings.HasPrefix(text, "file:"), strings.Contains(text, "?mode="), strings.Contains(text, "?_"):
		return fmt.Sprintf("%s is the name of a file; URLs and parameters are not supported here", quote(text))
	case strings.HasSuffix(text, "/"):
		return fmt.Sprintf("%s is a directory; write the name of a file in it", quote(text))
	case want == "new path" && text != "stdout" && text != "stderr" && !strings.ContainsAny(text, "/."):
		return fmt.Sprintf("%s is a file in the working directory; write ./%s if it is meant", quote(text), text)
	}
	return ""
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// unseen says whether a character is a space other than the plain one, or takes
// no room, as texts copied from web pages have them.
func unseen(r rune) bool {
	return r != ' ' && (unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Cf, r)) || r == 0x115f || r == 0x1160 || r == 0x3164
}

// quoted says whether a value begins or ends with a quote that YAML does not know
// as one, as word processors and web pages make them, or with one that is doubled.
func quoted(text string) bool {
	first, _ := utf8.DecodeRuneInString(text)
	last, size := utf8.DecodeLastRuneInString(text)
	odd := func(r rune) bool {
		return unicode.In(r, unicode.Pi, unicode.Pf) || strings.ContainsRune("„‚″′`", r)
	}
	return odd(first) || odd(last) || len(text) > size && first == last && (first == '\'' || first == '"')
}

// braces are a shell's, as no count has letters.
var braces = regexp.MustCompile(`(?:^|[^\\pPx])\{[^}]*[^0-9,}][^}]*\}`)

// misreadPattern says what is odd about a regular expression for names of
// interfaces, devices or zones, which have neither spaces nor slashes.
func misreadPattern(p string) string {
	switch {
	case strings.ContainsAny(p, " ,") && !strings.ContainsAny(p, "{["):
		return fmt.Sprintf("%s is one pattern, which no name matches; write one item for each", quote(p))
	case strings.HasPrefix(p, "!"):
		return fmt.Sprintf("%s matches no name: ! does not negate a pattern; use the list of names to leave out, or of names to include", quote(p))
	case braces.MatchString(p):
		return fmt.Sprintf("%s matches no name: braces do not list alternatives here; write (a|b)", quote(p))
	case strings.Contains(p, "%"):
		return fmt.Sprintf("%s matches no name: %% has no special meaning; [0-9]+ matches numbers", quote(p))
	case strings.Contains(p, "/"):
		return fmt.Sprintf("%s matches no name: write names without a directory", quote(p))
	}
	if fixed := fromGlob(p); fixed != p {
		return fmt.Sprintf("%s is a regular expression, in which * and ? repeat the character before them; if you mean a shell pattern, write %s", quote(p), fixed)
	}
	return ""
}

// fromGlob returns the regular expression that a shell's pattern means, or p where
// it does not look like one: a letter, digit or hyphen is rarely repeated in a
// name, and a character class rarely begins with an exclamation mark.
func fromGlob(p string) string {
	var out strings.Builder
	class := false
	for i := 0; i < len(p); i++ {
		var before byte
		if i > 0 {
			before = p[i-1]
		}
		literal := !class && inName(before) && (i < 2 || p[i-2] != '\\')
		switch {
		case p[i] == '*' && literal:
			out.WriteString(".*")
			continue
		case p[i] == '?' && literal && isLetter(before):
			out.WriteByte('.')
			continue
		case p[i] == '!' && before == '[' && class:
			out.WriteByte('^')
			continue
		case p[i] == '[' && before != '\\':
			class = true
		case p[i] == ']':
			class = false
		}
		out.WriteByte(p[i])
	}
	return out.String()
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// inName says whether a character stands for itself in a name and in a pattern.
func inName(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '-' || c == '_' }
