// Command metrics-receiver is a small stand-in for VictoriaMetrics, for trying
// the shipper without a server. It keeps nothing on disk; see shared/receiver.
//
// Its settings are environment variables:
//
//	LISTEN           address to listen on, default 127.0.0.1: this machine only
//	PORT             port, default 9090; 0 takes a free one
//	VERBOSE          true prints every accepted sample
//	AUTH_TOKEN_FILE  file with the bearer token that imports must have; default none
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/taniwha3/thugshells/shared/receiver"
	"github.com/taniwha3/thugshells/shared/version"
)

// Exit statuses, those of the daemons.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("metrics-receiver", flag.ContinueOnError)
	flags.SetOutput(stderr)
	showVersion := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: metrics-receiver [-version]\nsettings: LISTEN, PORT, VERBOSE, AUTH_TOKEN_FILE in the environment")
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "metrics-receiver: unexpected argument %q\n", flags.Arg(0))
		flags.Usage()
		return exitUsage
	case *showVersion:
		fmt.Fprint(stdout, version.Text("metrics-receiver"))
		return 0
	}

	s, err := readSettings(getenv)
	if err != nil {
		fmt.Fprintf(stderr, "metrics-receiver: %v\n", err)
		return exitUsage
	}
	options := receiver.Options{Token: s.token, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	if s.verbose {
		options.Verbose = stdout
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		fmt.Fprintf(stderr, "metrics-receiver: %v\n", err)
		return exitFailure
	}
	fmt.Fprintf(stdout, "metrics-receiver %s listening on http://%s\n", version.Of(), l.Addr())
	if err := receiver.New(options).Serve(ctx, l); err != nil {
		fmt.Fprintf(stderr, "metrics-receiver: %v\n", err)
		return exitFailure
	}
	return 0
}

type settings struct {
	address string
	verbose bool
	token   string
}

// readSettings returns every fault of the environment at once.
func readSettings(getenv func(string) string) (settings, error) {
	var s settings
	var faults []error
	or := func(name, otherwise string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return otherwise
	}

	host := or("LISTEN", "127.0.0.1")
	if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
		faults = append(faults, fmt.Errorf("LISTEN: want an IP address without a port, such as 127.0.0.1 or 0.0.0.0, got %q", host))
	}
	port, err := strconv.ParseUint(or("PORT", "9090"), 10, 16)
	if err != nil {
		faults = append(faults, fmt.Errorf("PORT: want a number from 0 to 65535, got %q", getenv("PORT")))
	}
	s.address = net.JoinHostPort(host, strconv.FormatUint(port, 10))
	if s.verbose, err = strconv.ParseBool(or("VERBOSE", "false")); err != nil {
		faults = append(faults, fmt.Errorf("VERBOSE: want true or false, got %q", getenv("VERBOSE")))
	}
	if path := getenv("AUTH_TOKEN_FILE"); path != "" {
		if s.token, err = readToken(path); err != nil {
			faults = append(faults, fmt.Errorf("AUTH_TOKEN_FILE: %w", err))
		}
	}
	return s, errors.Join(faults...)
}

// readToken reads a bearer token: one word of printable ASCII, a newline after
// it or none. No error quotes what was read.
func readToken(path string) (string, error) {
	const most = 4 << 10
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return "", err
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || len(text) > most {
		return "", fmt.Errorf("%s: want a token of 1 to %d bytes", path, most)
	}
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("%s: want one token of printable ASCII without spaces", path)
		}
	}
	return string(text), nil
}
