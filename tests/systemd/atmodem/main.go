// Command atmodem is a modem for ModemManager in its test mode, until it is ended:
//
//	atmodem PORT [COMMAND=ANSWER]...
//
// PORT is as ModemManager names it, such as abstract:modem. The answers go over
// those of a modem that is registered at home; a command has no AT in front.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/taniwha3/thugshells/shared/bus/modemtest"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: atmodem PORT [COMMAND=ANSWER]...")
		return
	}
	answers := map[string]string{}
	for _, arg := range os.Args[2:] {
		command, answer, _ := strings.Cut(arg, "=")
		answers[command] = answer
	}
	if _, err := modemtest.Plug(os.Args[1], answers); err != nil {
		fmt.Fprintln(os.Stderr, "atmodem:", err)
		return
	}
	select {}
}
