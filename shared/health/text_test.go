package health

import (
	"strings"
	"testing"
)

func TestAHintBeginsWithACapitalLetterAndACommandDoesNot(t *testing.T) {
	for hint, want := range map[string]string{
		"":                     "",
		"wait":                 "Wait.",
		"metrics-shipper -x":   "metrics-shipper -x.",
		"journalctl -u one; y": "journalctl -u one; y.",
	} {
		if got := sentence(hint); got != want {
			t.Errorf("%q: %q, want %q", hint, got, want)
		}
	}
	for _, hint := range hints {
		if text := sentence(hint); strings.HasPrefix(text, "Metrics-") || strings.HasPrefix(text, "Journalctl") {
			t.Errorf("%q", text)
		}
	}
}
