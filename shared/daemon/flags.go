package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/taniwha3/thugshells/shared/config"
)

// options is what the command line says.
type options struct {
	flags          *flag.FlagSet
	config         string // empty: the default path, which may be absent
	check, version bool
	command        *Command // nil: the daemon
	args           []string // of the command
}

func (pr Program) options(args []string) (options, error) {
	fs := flag.NewFlagSet(pr.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // Main words the error
	o := options{flags: fs}
	fs.StringVar(&o.config, "config", "", "read the configuration from `FILE` (default "+config.DefaultPath+", or no file)")
	fs.BoolVar(&o.check, "check", false, "validate the configuration and exit")
	fs.BoolVar(&o.version, "version", false, "print the version and exit")
	chosen := make([]bool, len(pr.Commands))
	for i, c := range pr.Commands {
		if c.Value == nil {
			fs.BoolVar(&chosen[i], c.Flag, false, c.Help)
			continue
		}
		fs.Func(c.Flag, c.Help, func(value string) error {
			if value == "" || strings.HasPrefix(value, "-") {
				return errors.New("needs a file name")
			}
			chosen[i], *c.Value = true, value
			return nil
		})
	}
	own := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { own[f.Name] = true })
	if pr.Flags != nil {
		pr.Flags(fs)
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	var modes []string
	if o.check {
		modes = append(modes, "-check")
	}
	if o.version {
		modes = append(modes, "-version")
	}
	for i := range chosen {
		if chosen[i] {
			o.command = &pr.Commands[i]
			modes = append(modes, "-"+o.command.Flag)
		}
	}
	if o.args = fs.Args(); len(o.args) > 0 && (o.command == nil || o.command.Args == "") {
		return o, fmt.Errorf("unexpected argument %q", o.args[0])
	}
	if len(modes) > 1 {
		return o, errors.New(strings.Join(modes, " and ") + " exclude each other")
	}
	var err error
	fs.Visit(func(f *flag.Flag) {
		switch {
		case f.Name == "config" && o.config == "":
			err = errors.New("-config needs a file name")
		case !own[f.Name] && o.command == nil:
			err = fmt.Errorf("-%s needs one of the commands", f.Name)
		}
	})
	return o, err
}

func (pr Program) usage(fs *flag.FlagSet) {
	modes := []string{"-check", "-version"}
	for _, c := range pr.Commands {
		modes = append(modes, strings.TrimSpace("-"+c.Flag+" "+c.Args))
	}
	fmt.Fprintf(fs.Output(), "%s: %s\n\nusage: %s [-config FILE] [%s]\n\n", pr.Name, pr.Summary, pr.Name, strings.Join(modes, " | "))
	fs.PrintDefaults()
}
