package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/taniwha3/thugshells/shared/daemon"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// listen opens the port of the status page. If the port is in use, the error names the
// program that uses it and the key of the configuration.
func listen(ctx context.Context, p *daemon.Process) (net.Listener, error) {
	address := p.Config.Health.Addr()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	who := "another program"
	if _, text, err := net.SplitHostPort(address); err == nil {
		if port, err := strconv.Atoi(text); err == nil {
			who = listener(hostfs.Roots{Proc: p.Config.Host.Procfs}, port)
		}
	}
	return nil, fmt.Errorf("health.port: %s already listens on %s; stop it, or set health.port to another port (9100 is also the port of node_exporter)", who, address)
}

func listener(r hostfs.Roots, port int) string {
	l, ok := r.ListenerOn(port)
	switch {
	case !ok:
		return "another program"
	case l.PID != 0:
		return fmt.Sprintf("%s (pid %d)", l.Name, l.PID)
	}
	return fmt.Sprintf("a program of user %d", l.User)
}
