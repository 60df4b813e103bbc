// Command probe is started in the place of a daemon, in its unit's sandbox and
// limits, and finds out what they are worth:
//
//	probe try          try each way out; "allowed NAME" or "denied NAME: why" for each
//	probe eat          take memory until something ends it
//	probe burn WAIT    keep all processors busy for WAIT, then print the time used
//	probe follow LAST  print each entry of the journal up to the message LAST, and what was skipped
//
// Nothing that it tries does harm where it succeeds.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	args := append(os.Args[1:], "", "")
	switch args[0] {
	case "try":
		try(os.Stdout)
	case "eat":
		eat(os.Stdout)
	case "burn":
		if err := burn(os.Stdout, args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
		}
	case "follow":
		if err := follow(os.Stdout, args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: probe try | eat | burn WAIT | follow LAST")
	}
}

func try(out io.Writer) {
	for _, w := range ways {
		if err := w.out(); err != nil {
			fmt.Fprintf(out, "denied %s: %v\n", w.name, err)
		} else {
			fmt.Fprintf(out, "allowed %s\n", w.name)
		}
	}
}

// eat takes 1 GiB in steps of 1 MiB and says how far it came.
func eat(out io.Writer) {
	const step = 1 << 20
	var kept [][]byte
	for mib := 1; mib <= 1024; mib++ {
		b := make([]byte, step)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		fmt.Fprintln(out, mib)
	}
	fmt.Fprintln(out, "took everything:", len(kept))
}

// burn prints the processor time used and the time that passed, in ms.
func burn(out io.Writer, wait string) error {
	d, err := time.ParseDuration(wait)
	if err != nil {
		return err
	}
	start := time.Now()
	for range runtime.NumCPU() {
		go func() {
			for time.Since(start) < d {
			}
		}()
	}
	<-time.After(d)
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return err
	}
	used := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	_, err = fmt.Fprintf(out, "used %d of %d\n", used.Milliseconds(), time.Since(start).Milliseconds())
	return err
}
