package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// scalar puts a number, a duration, a text, true or false into a field, or
// says what is wanted and, where describe would not do, what is there instead.
func (w *walker) scalar(n *yaml.Node, into reflect.Value, want string) (wanted, instead string, ok bool) {
	tag := ""
	if n.Kind == yaml.ScalarNode {
		tag = n.ShortTag()
	}
	low, high, _ := strings.Cut(want, "..")
	switch into.Interface().(type) {
	case time.Duration:
		wanted = fmt.Sprintf("a duration of %s to %s such as %s", low, high, short(time.Duration(into.Int())))
		return wanted, "", setDuration(n.Value, tag, into, mustDuration(low), mustDuration(high))
	case int, int64:
		return fmt.Sprintf("a whole number of %s to %s", low, high), "", setInt(n.Value, tag, into, mustInt(low), mustInt(high))
	case float64:
		return fmt.Sprintf("a number of %s to %s", low, high), "", setFloat(n.Value, tag, into, float64(mustInt(low)), float64(mustInt(high)))
	case bool:
		if ok = tag == "!!bool"; ok {
			into.SetBool(strings.EqualFold(n.Value, "true"))
		}
		return "true or false", "", ok
	case string:
		return setText(n.Value, tag, into, want)
	}
	panic("BUG: no reader for a field of type " + into.Type().String())
}

func setDuration(text, tag string, into reflect.Value, low, high time.Duration) bool {
	d, err := time.ParseDuration(text)
	if tag != "!!str" || err != nil || d < low || d > high {
		return false
	}
	into.SetInt(int64(d))
	return true
}

func setInt(text, tag string, into reflect.Value, low, high int64) bool {
	i, err := strconv.ParseInt(text, 10, 64)
	leadingZero := len(text) > 1 && text[0] == '0' // YAML 1.1 reads it as octal, 1.2 does not
	if tag != "!!int" || err != nil || leadingZero || i < low || i > high {
		return false
	}
	into.SetInt(i)
	return true
}

func setFloat(text, tag string, into reflect.Value, low, high float64) bool {
	f, err := strconv.ParseFloat(text, 64)
	if tag != "!!int" && tag != "!!float" || err != nil || math.IsNaN(f) || f < low || f > high {
		return false
	}
	into.SetFloat(f)
	return true
}

func setText(text, tag string, into reflect.Value, want string) (wanted, instead string, ok bool) {
	if tag == "!!null" {
		text = ""
	}
	wanted, instead = checkText(want, text)
	switch {
	case tag == "!!str" && wanted == "":
		into.SetString(text)
		return "", "", true
	case tag == "!!str":
		return wanted, instead, false
	case wanted == "":
		wanted = "a text in quotes" // because another type was found
	}
	return wanted, "", false
}
