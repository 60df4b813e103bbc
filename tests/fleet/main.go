// Command fleet runs many virtual boards against a server: real databases and
// real shippers, with an invented machine under each. It shows what a fleet of
// boards costs its server, so that docs/fleet.md need not guess:
//
//	go run ./tests/fleet -url http://127.0.0.1:8428/api/v1/import -boards 200 -outage 1h
//
// The samples lie in the past and are stored at the server as device_id
// fleet-0000 and so on: use one that holds nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	p := plan{name: "fleet"}
	flag.StringVar(&p.url, "url", "http://127.0.0.1:8428/api/v1/import", "the server's import `address`")
	flag.IntVar(&p.boards, "boards", 100, "how `many` boards")
	flag.DurationVar(&p.interval, "interval", 30*time.Second, "between the rounds of a board")
	flag.IntVar(&p.rounds, "rounds", 4, "of each board")
	flag.DurationVar(&p.outage, "outage", time.Hour, "what each board has waiting at the start; 0 for nothing")
	flag.BoolVar(&p.spread, "spread", true, "rounds spread over the interval by device id")
	flag.Parse()
	s, err := run(context.Background(), p)
	if err == nil {
		err = report(os.Stdout, p, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}
