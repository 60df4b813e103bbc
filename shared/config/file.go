package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// maxFileBytes bounds the file; a whole one with every comment has about 8 KiB.
const maxFileBytes = 1 << 20

// Load reads the configuration from path over Default. An empty path means
// DefaultPath, which may be absent; a path that is given must exist.
//
// The error is a *Faults when the file was read and something in it is wrong;
// Config is then the zero value.
func Load(path string) (Config, error) {
	optional := path == ""
	if optional {
		path = DefaultPath
	}
	data, err := readFile(path)
	if err != nil && (!optional || !errors.Is(err, fs.ErrNotExist)) {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	// Without a hostname device.id is the key at fault.
	hostname, err := os.Hostname()
	if err != nil {
		hostname = ""
	}
	return parse(path, data, hostname)
}

// readFile reads a regular file, or a device such as /dev/null, which is an empty
// configuration.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeCharDevice != 0 {
		return hostfs.ReadDevice(path, maxFileBytes)
	}
	return hostfs.ReadRegular(path, maxFileBytes)
}

// parse reads one YAML document of UTF-8 text, with or without a byte order
// mark, over Default. Hostname stands in for device.id.
func parse(file string, data []byte, hostname string) (Config, error) {
	c := Default()
	w := walker{lines: map[string]int{}, bad: map[string]bool{}}
	if w.text(data) {
		if root := w.document(data); root != nil {
			w.config(root, &c)
		}
	}
	if c.Device.ID == "" {
		c.Device.ID = hostname
		if hostname == "" {
			w.rule("device.id", "want a name such as belabox-001, got none, and this machine has no hostname")
		} else if want, got := checkText("label", hostname); want != "" {
			w.rule("device.id", "want %s, got none, and the hostname is %s", want, got)
		}
	}
	w.relate(c)
	if len(w.faults) > 0 {
		f := &Faults{File: file, List: w.faults}
		f.sort()
		if w.unlisted > 0 {
			last := f.List[len(f.List)-1].Line
			f.List = append(f.List, Fault{Line: last, Text: fmt.Sprintf("and %d more", w.unlisted)})
		}
		return Config{}, f
	}
	return c, nil
}

// text reports whether data is text: UTF-8 without control characters. The decoder checks
// this too, but does not name the line.
func (w *walker) text(data []byte) bool {
	line := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			w.fault(line, "", "want UTF-8 text, got the byte 0x%02x", data[0])
			return false
		case r == '\n':
			line++
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			w.fault(line, "", "want text, got the control character 0x%02x", r)
			return false
		}
		data = data[size:]
	}
	return true
}

// syntaxError matches the decoder's errors of syntax: "yaml: line 3: did not find expected
// key". The line is the one where the construct begins.
var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// document returns the top node of the one document in data, or nil if there
// is none or it is no YAML.
func (w *walker) document(data []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, next yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		err = d.Decode(&next)
		if err == nil {
			w.fault(next.Line, "", "want one YAML document, got a second one")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		w.syntax(err, data)
		return nil
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

// syntax reports an error of the decoder.
func (w *walker) syntax(err error, data []byte) {
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		w.fault(1, "", "not YAML")
		return
	}
	// This one message has no line, and repeats text of the file.
	if anchor := unknownAnchor.FindStringSubmatch(m[2]); anchor != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+anchor[1]))
		w.fault(1+bytes.Count(before, []byte("\n")), "",
			"want the value written out, got an alias (*); put a text that begins with * in quotes")
		return
	}
	line, err := strconv.Atoi(m[1])
	if err != nil {
		line = 1
	}
	w.fault(line, "", "not valid YAML on this line or below: %s", m[2])
}
