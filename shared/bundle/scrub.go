package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// removed stands for what must not leave the board.
const removed = "[removed]"

// A scrubber takes out of text what must not leave the board: secrets that are
// known, what stands behind a word for one, credentials and parameters of
// addresses, and the numbers of devices and SIM cards.
type scrubber struct{ known *strings.Replacer }

// minSecret is the length below which a known secret is not looked for: it would
// be found everywhere.
const minSecret = 4

func newScrubber(secrets []string) scrubber {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= minSecret {
			pairs = append(pairs, s, removed, base64.StdEncoding.EncodeToString([]byte(s)), removed)
		}
	}
	return scrubber{strings.NewReplacer(pairs...)}
}

var (
	// A word for a secret, as a key of any spelling, and its value: quoted, or up to
	// a separator.
	keyed = regexp.MustCompile(`(?i)((?:stream[_-]?id|stream[_-]?key|pass(?:word|phrase|wd)?|token|secret|api[_-]?key|authorization|bearer|basic|cookie|imei|imsi|iccid|msisdn|eid|phone|pin|puk)\\*["']?\s*[:=]\s*)(\\+"[^"\\]*\\+"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&}\]"']+)`)
	// Authorization schemes, whatever stands before them.
	scheme = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}`)
	// The user and password, and the parameters, of an address.
	userinfo   = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s"'@]*@`)
	parameters = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'?#]*)[?#][^\s"']*`)
	// IMEI and IMSI have 14 to 16 digits, a SIM card's number 18 to 22.
	digits = regexp.MustCompile(`\b(?:[0-9]{14,16}|[0-9]{18,22})\b`)
)

// text scrubs a text of any kind. JSON stays JSON.
func (s scrubber) text(t string) string {
	t = s.known.Replace(t)
	t = userinfo.ReplaceAllString(t, "${1}"+removed+"@")
	t = parameters.ReplaceAllString(t, "${1}?"+removed)
	t = scheme.ReplaceAllString(t, "$1 "+removed)
	t = keyed.ReplaceAllStringFunc(t, func(m string) string {
		parts := keyed.FindStringSubmatch(m)
		value := parts[2]
		if strings.HasSuffix(value, "_file") || value == `""` || value == "null" || value == "true" || value == "false" || value == "''" {
			return m
		}
		for _, quote := range []string{`\"`, `"`, "'"} {
			if strings.HasPrefix(value, quote) {
				return parts[1] + quote + removed + quote
			}
		}
		return parts[1] + removed
	})
	return digits.ReplaceAllString(t, removed)
}

// secretKey says whether a name is that of something secret.
var secretKey = regexp.MustCompile(`(?i)stream[_-]?(?:id|key)|pass(?:word|phrase|wd)|token$|secret|api[_-]?key|authorization|imei|imsi|iccid|msisdn|^eid$|phone|^pin$|^puk$`)

// json scrubs the strings of a JSON text; what is none is scrubbed as text.
// Numbers are figures and stay.
func (s scrubber) json(t string) string {
	d := json.NewDecoder(strings.NewReader(t))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return s.text(t)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if strings.Contains(t, "\n") {
		e.SetIndent("", " ")
	}
	if err := e.Encode(s.value(v)); err != nil {
		return s.text(t)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func (s scrubber) value(v any) any {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, "{") {
			return s.json(v)
		}
		return s.text(v)
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
	case map[string]any:
		for key := range v {
			if text, ok := v[key].(string); ok && text != "" && secretKey.MatchString(key) {
				v[key] = removed
				continue
			}
			v[key] = s.value(v[key])
		}
	}
	return v
}
