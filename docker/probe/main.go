// Command probe asks one URL and exits with 0 if the answer is 200: the health
// check of images that have no shell and no wget.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := ask(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func ask(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: probe URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[1], nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", args[1], resp.Status)
	}
	return nil
}
