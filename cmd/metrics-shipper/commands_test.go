package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
)

func TestCommandsOnADatabaseThatIsNotThereMakeNone(t *testing.T) {
	var v verification
	for name, command := range map[string]func(context.Context, *daemon.Process) (int, error){
		"rejected": rejected, "requeue": requeue, "verify": v.run,
	} {
		dir := t.TempDir()
		c := config.Default()
		c.Storage.Path = filepath.Join(dir, "data", "metrics.db")
		var out bytes.Buffer
		exit, err := command(t.Context(), &daemon.Process{Name: "metrics-shipper", Config: c, Stdout: &out, Log: slog.New(slog.DiscardHandler)})
		if exit != 1 || err == nil || !strings.Contains(err.Error(), "no database at "+c.Storage.Path+"; the collector makes it") || out.Len() > 0 {
			t.Errorf("%s: exit %d, %v, printed %q", name, exit, err, out.String())
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}
