package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

const (
	shippedFile = "../../configs/config.yaml"
	pageFile    = "../../docs/configuration.md"
)

const pageHead = `# Configuration

<!-- written by ` + "`make golden`" + ` from shared/config and the comments of configs/config.yaml -->

One YAML file for all three daemons: ` + "`" + DefaultPath + "`" + `, or what ` + "`-config`" + ` names.
[The example](../configs/config.yaml) shows every key with its default. A key that is left out has its default: an empty file
works, and so does a missing one.

An unknown key or an invalid value is a fault. No daemon starts with one, and
` + "`metrics-collector -check`" + ` lists all of them with their lines. A change takes effect after a restart.

` + "`-check`" + ` also reports values that are valid but probably meant as something else, and then ends with 2: a shell's pattern where
a regular expression is wanted, a variable or a placeholder of a template, typographic quotes, a character that cannot be
seen, a URL with a path at which no server accepts samples. The daemons start with it.

Durations need a unit: ` + "`500ms`, `30s`, `5m`, `1h`" + `. Sizes have theirs in the key.

These keys depend on each other, and are checked:

- ` + "`remote.chunk_size`" + ` is at most ` + "`remote.batch_size`" + `, and ` + "`remote.retry.initial_backoff`" + ` at most ` + "`remote.retry.max_backoff`" + `;
- the limits of ` + "`health.degraded_threshold`" + ` are at most those of ` + "`health.error_threshold`" + `;
- ` + "`remote.client_cert` and `remote.client_key`" + ` are given together, and so are the two keys of ` + "`remote.basic_auth`" + `,
  which exclude ` + "`remote.token_file`" + `;
- ` + "`logging.output`" + ` must not be a file of the database.
`

// TestTheConfigurationPageIsTheStructAndTheFile: what a key takes and its
// default come from the struct, what it means from the comments of the file.
func TestTheConfigurationPageIsTheStructAndTheFile(t *testing.T) {
	want := page(t)
	got, err := os.ReadFile(pageFile)
	if err == nil && string(got) == want {
		return
	}
	if !*update {
		t.Fatalf("docs/configuration.md does not show the keys as they are; run `make golden` (%v)", err)
	}
	if err := os.WriteFile(pageFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// comments returns the comment above each key of the file, by dotted key and as
// one line. In the list of collectors the keys are metrics[].name and so on, and
// what stands above an entry is under the name of its collector.
func comments(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(shippedFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	note := func(key, comment string) {
		if text := plain(comment); text != "" && all[key] == "" {
			all[key] = text
		}
	}
	var walk func(n *yaml.Node, at string)
	walk = func(n *yaml.Node, at string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := join(at, n.Content[i].Value)
				note(key, n.Content[i].HeadComment)
				walk(n.Content[i+1], key)
			}
		case yaml.SequenceNode:
			for _, item := range n.Content {
				note(nameOf(item), item.HeadComment)
				walk(item, at+"[]")
			}
		}
	}
	walk(doc.Content[0], "")
	return all
}

// plain is a comment as one line of Markdown, with the keys in it as code.
func plain(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		words = append(words, strings.Fields(strings.TrimLeft(line, "# "))...)
	}
	keys := append(leaves(), "-once", "-verify", "-retentionPeriod", "/etc/belabox-metrics/token")
	code := regexp.MustCompile(`[-/a-z][-/\w.]*\w`)
	return code.ReplaceAllStringFunc(strings.Join(words, " "), func(s string) string {
		if slices.Contains(keys, s) {
			return "`" + s + "`"
		}
		return s
	})
}

// page prints docs/configuration.md.
func page(t *testing.T) string {
	p := printer{t: t, said: comments(t)}
	p.WriteString(pageHead)
	def := reflect.ValueOf(Default())
	for f, v := range def.Fields() {
		key := f.Tag.Get("yaml")
		fmt.Fprintf(&p, "\n## %s\n\n%s\n", key, p.meaning(key))
		if key == "metrics" {
			p.collectors()
			continue
		}
		p.head("key")
		p.rows(v, key)
	}
	return p.String()
}

// A printer writes the page.
type printer struct {
	strings.Builder
	t    *testing.T
	said map[string]string
}

func (p *printer) meaning(key string) string {
	if p.said[key] == "" {
		p.t.Errorf("%s: no comment of its own in configs/config.yaml", key)
	}
	return p.said[key]
}

func (p *printer) head(first string) {
	fmt.Fprintf(p, "\n| %s | takes | default | meaning |\n| --- | --- | --- | --- |\n", first)
}

func (p *printer) row(key, takes, value string) {
	cell := strings.NewReplacer("|", `\|`, "*", `\*`)
	code := strings.ReplaceAll(value, "|", `\|`)
	fmt.Fprintf(p, "| `%s` | %s | %s | %s |\n", key, cell.Replace(takes), code, cell.Replace(p.meaning(key)))
}

// rows writes a row for each key of a struct, and for the keys below them.
func (p *printer) rows(of reflect.Value, parent string) {
	for f, v := range of.Fields() {
		key := join(parent, f.Tag.Get("yaml"))
		if v.Kind() == reflect.Struct {
			p.row(key, "the keys below", "")
			p.rows(v, key)
			continue
		}
		p.row(key, takes(p.t, f.Type, f.Tag.Get("want")), inYAML(p.t, v))
	}
}

// collectors writes the keys of an entry of the list, and the default list.
func (p *printer) collectors() {
	const of = "metrics[]"
	p.head("key of an entry")
	for f := range reflect.TypeFor[Metric]().Fields() {
		key, want, value := of+"."+f.Tag.Get("yaml"), "", "that of the collector, below"
		switch f.Name {
		case "Name":
			want, value = "a collector of the list below", "none: it must be given"
		case "Config":
			want, value = "the keys below", ""
		default:
			want = takes(p.t, f.Type, f.Tag.Get("want"))
		}
		p.row(key, want, value)
	}
	for f := range reflect.TypeFor[MetricConfig]().Fields() {
		collector := f.Tag.Get("of")
		first, _, _ := strings.Cut(collector, ", ")
		v := reflect.ValueOf(DefaultMetricConfig(first)).FieldByIndex(f.Index)
		p.row(of+".config."+f.Tag.Get("yaml"), collector+": "+takes(p.t, f.Type, f.Tag.Get("want")), inYAML(p.t, v))
	}
	p.WriteString("\n| collector | interval | enabled | priority | keys under `config` | reads |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, m := range DefaultMetrics() {
		var keys []string
		for f := range reflect.TypeFor[MetricConfig]().Fields() {
			if slices.Contains(strings.Split(f.Tag.Get("of"), ", "), m.Name) {
				keys = append(keys, "`"+f.Tag.Get("yaml")+"`")
			}
		}
		fmt.Fprintf(p, "| `%s` | `%s` | `%t` | `%d` | %s | %s |\n", m.Name, short(m.Interval), m.Enabled, m.Priority, strings.Join(keys, ", "), p.meaning(m.Name))
	}
}

// takes says what a key wants in the words of the faults.
func takes(t *testing.T, of reflect.Type, want string) string {
	low, high, _ := strings.Cut(want, "..")
	switch {
	case of.Kind() == reflect.Bool:
		return "true or false"
	case of == reflect.TypeFor[time.Duration]():
		return fmt.Sprintf("a duration of %s to %s", low, high)
	case of.Kind() == reflect.Float64:
		return fmt.Sprintf("a number of %s to %s", low, high)
	case of.Kind() == reflect.Int, of.Kind() == reflect.Int64:
		return fmt.Sprintf("a whole number of %s to %s", low, high)
	}
	words, _ := checkText(want, "(\x00") // a text that none of the kinds is
	if words == "" {
		t.Errorf("the kind of text %q has no words", want)
	}
	if strings.HasSuffix(want, " or empty") {
		words += ", or nothing"
	}
	if of.Kind() == reflect.Slice {
		return "a list; each " + words
	}
	return words
}

// inYAML is a default as it stands in a file.
func inYAML(t *testing.T, v reflect.Value) string {
	var n yaml.Node
	value := v.Interface()
	if d, ok := value.(time.Duration); ok {
		value = short(d)
	}
	if err := n.Encode(value); err != nil {
		t.Fatal(err)
	}
	n.Style = yaml.FlowStyle
	text, err := yaml.Marshal(&n)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + strings.TrimSpace(string(text)) + "`"
}
