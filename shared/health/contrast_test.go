package health

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// luminance is the relative luminance of a colour such as #1a7f4b or #fff
// (WCAG 2.1, "relative luminance").
func luminance(t *testing.T, colour string) float64 {
	hex := strings.TrimPrefix(colour, "#")
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		if c := float64(n) / 255; c <= .03928 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+.055)/1.055, 2.4)
		}
	}
	return sum
}

func contrast(t *testing.T, one, other string) float64 {
	a, b := luminance(t, one), luminance(t, other)
	return (max(a, b) + .05) / (min(a, b) + .05)
}

// The lines of the charts stand out from their card by 3 to 1, and texts by 4.5
// to 1, in the light and in the dark theme (WCAG 2.1, 1.4.11 and 1.4.3).
func TestColoursStandOutInBothThemes(t *testing.T) {
	css, err := os.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	themes := regexp.MustCompile(`:root \{[^}]*\}`).FindAllString(string(css), -1)
	if len(themes) != 2 {
		t.Fatalf("%d themes, want a light and a dark one", len(themes))
	}
	for i, theme := range themes {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z0-9]+): (#[0-9a-f]+);`).FindAllStringSubmatch(theme, -1) {
			colours[m[1]] = m[2]
		}
		for name, least := range map[string]float64{
			"c0": 3, "c1": 3, "c2": 3, "c3": 3, "c4": 3, "c5": 3, "c6": 3, "c7": 3,
			"text": 4.5, "quiet": 4.5, "ok": 3, "degraded": 3, "error": 3,
		} {
			if colours[name] == "" {
				t.Errorf("theme %d has no colour %s", i, name)
			} else if got := contrast(t, colours[name], colours["card"]); got < least {
				t.Errorf("theme %d: %s %s is %.2f to 1 from its card, want %v", i, name, colours[name], got, least)
			}
		}
	}
	if got := contrast(t, "#000", "#ffffff"); got != 21 {
		t.Errorf("black on white is %v to 1", got)
	}
}
