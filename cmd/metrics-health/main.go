// Metrics-health reports the state of the telemetry over HTTP, with a reason for each
// problem. It only reads the database.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taniwha3/thugshells/shared/certfile"
	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/health"
	"github.com/taniwha3/thugshells/shared/secretfile"
)

// judgeEvery is how often the status is evaluated when no request comes.
const judgeEvery = 30 * time.Second

func main() {
	var show display
	var file string
	os.Exit(daemon.Main(daemon.Program{
		Name:    "metrics-health",
		Summary: "reports the state of the telemetry over HTTP",
		Run:     run,
		Check: func(c config.Config) (faults, unseen []string) {
			return secretfile.Check(c, secretfile.Here(), certfile.Load)
		},
		Commands: []daemon.Command{
			{
				Flag: "once", Help: "print the status as JSON; exit 0 for ok, 1 for degraded, 2 for error",
				Run: func(ctx context.Context, p *daemon.Process) (int, error) {
					return print(ctx, p, display{json: true})
				},
			},
			{
				Flag: "status", Help: "print the status as text, read directly from the database; exits as -once",
				Run: func(ctx context.Context, p *daemon.Process) (int, error) {
					return print(ctx, p, show)
				},
			},
			{Flag: "bundle", Value: &file, Help: "write a support bundle to `FILE`: status, configuration without secrets, the last hours of samples, events and log lines", Run: func(ctx context.Context, p *daemon.Process) (int, error) {
				return 0, writeBundle(ctx, p, file)
			}},
		},
		Flags: func(fs *flag.FlagSet) {
			fs.BoolVar(&show.json, "json", false, "with -status: print JSON")
			fs.BoolVar(&show.quiet, "q", false, "with -status: print one line, for a prompt")
		},
	}))
}

// run is the daemon: listen, two loops, close.
func run(ctx context.Context, p *daemon.Process) (err error) {
	if !p.Config.Health.Enabled {
		p.Log.Info("health.enabled is false; there is nothing to do")
		p.Ready()
		<-ctx.Done()
		return nil
	}
	l, err := listen(ctx, p)
	if err != nil {
		return err
	}
	watch := watchOf(p)
	defer func() { err = errors.Join(err, watch.Close()) }()
	server := health.NewServer(watch, p.Config, p.Version, p.Started, p.Log)
	logReach(p, l)

	g, loops := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(loops, l) })
	g.Go(func() error { return p.Every(loops, "judge", judgeEvery, watch.Judge(p.Log)) })
	p.Ready()
	return g.Wait()
}
