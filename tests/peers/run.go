package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A contest is one peer with a server of its own behind a proxy that counts.
type contest struct {
	peer
	dir      string
	commands [][]string
	proxy    *proxy
	server   *exec.Cmd
	api      string // of the server
	running  []*exec.Cmd
	began    time.Time
}

func cutPort(addr string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	return host, port, err == nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// begin starts the server and prepares the peer. Missing names a program that is
// not there.
func begin(p peer) (c *contest, missing string, err error) {
	for i, name := range p.programs {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, name, nil
		}
		if p.programs[i], err = filepath.Abs(path); err != nil {
			return nil, "", err
		}
	}
	c = &contest{peer: p}
	if c.dir, err = os.MkdirTemp("", "peers-"); err != nil {
		return nil, "", err
	}
	if c.api, err = freeAddr(); err != nil {
		return nil, "", err
	}
	graphite, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	c.server = exec.Command("victoria-metrics", "-httpListenAddr="+c.api, "-graphiteListenAddr="+graphite,
		"-storageDataPath="+filepath.Join(c.dir, "server"), "-dedup.minScrapeInterval=1ms", "-search.latencyOffset=0s")
	if err := c.server.Start(); err != nil {
		return nil, "", fmt.Errorf("start victoria-metrics: %w", err)
	}
	to := c.api
	if p.graphite {
		to = graphite
	}
	if c.proxy, err = newProxy(to); err != nil {
		return c, "", err
	}
	if p.install {
		if err := c.install(); err != nil {
			return c, "", err
		}
	}
	c.commands, err = p.commands(c.dir, c.proxy.addr, c.programs)
	if err != nil {
		return c, "", err
	}
	for range 100 {
		if resp, err := http.Get("http://" + c.api + "/health"); err == nil {
			return c, "", resp.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return c, "", errors.New("victoria-metrics does not answer")
}

// install copies the programs, and lets the system forget what is in them, as
// before a boot. A file that was just written lies in memory in large pieces, of
// which a process that uses a page gets all: 6 MB more of the three.
func (c *contest) install() error {
	for i, from := range c.programs {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		c.programs[i] = filepath.Join(c.dir, filepath.Base(from))
		file, err := os.OpenFile(c.programs[i], os.O_CREATE|os.O_WRONLY, 0o700)
		if err != nil {
			return err
		}
		_, err = file.Write(text)
		if err := errors.Join(err, file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (c *contest) start() error {
	c.began = time.Now()
	for i, args := range c.commands {
		log, err := os.OpenFile(filepath.Join(c.dir, fmt.Sprintf("log%d", i)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.Env = append(os.Environ(), "MALLOC_ARENA_MAX=1") // as the packaged units set it
		start := cmd.Start
		if c.peer.install {
			start = func() error { return startSlack(cmd) }
		}
		if err := start(); err != nil {
			return err
		}
		c.running = append(c.running, cmd)
	}
	return nil
}

func (c *contest) stop(sig syscall.Signal) {
	for _, cmd := range c.running {
		_ = cmd.Process.Signal(sig)
	}
	for _, cmd := range c.running {
		_ = cmd.Wait()
	}
	c.running = nil
}

func (c *contest) end() {
	c.stop(syscall.SIGTERM)
	_ = c.server.Process.Signal(syscall.SIGTERM)
	_ = c.server.Wait()
	_ = os.RemoveAll(c.dir)
}

func (c *contest) use() (sum use, err error) {
	for _, cmd := range c.running {
		one, err := useOf(cmd.Process.Pid)
		if err != nil {
			return sum, fmt.Errorf("%s: %w", c.name, err)
		}
		sum = sum.plus(one)
	}
	return sum, nil
}

// logged is the bytes of text that the peer wrote.
func (c *contest) logged() (n int64) {
	logs, _ := filepath.Glob(filepath.Join(c.dir, "log*"))
	for _, l := range logs {
		if info, err := os.Stat(l); err == nil {
			n += info.Size()
		}
	}
	return n
}

// stored counts the distinct samples that the server has of a stretch of time.
func (c *contest) stored(ctx context.Context, from, until time.Time) (n int64, err error) {
	export := "http://" + c.api + "/api/v1/export?" + url.Values{
		"match[]": {`{__name__!=""}`}, "start": {seconds(from)}, "end": {seconds(until.Add(-time.Millisecond))},
	}.Encode()
	err = c.get(ctx, "http://"+c.api+"/internal/force_flush", func(*bufio.Scanner) error { return nil })
	if err != nil {
		return 0, err
	}
	return n, c.get(ctx, export, func(lines *bufio.Scanner) error {
		for lines.Scan() {
			var line struct{ Timestamps []int64 }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				return err
			}
			n += int64(len(line.Timestamps))
		}
		return lines.Err()
	})
}

func seconds(at time.Time) string {
	return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)
}

var inserted = regexp.MustCompile(`^vm_rows_inserted_total\{.*\} (\d+)$`)

// received counts the samples that the server was sent, doubles among them.
func (c *contest) received(ctx context.Context) (n int64, err error) {
	return n, c.get(ctx, "http://"+c.api+"/metrics", func(lines *bufio.Scanner) error {
		for lines.Scan() {
			if m := inserted.FindStringSubmatch(lines.Text()); m != nil {
				one, err := strconv.ParseInt(m[1], 10, 64)
				if err != nil {
					return err
				}
				n += one
			}
		}
		return lines.Err()
	})
}

func (c *contest) get(ctx context.Context, from string, read func(*bufio.Scanner) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", from, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	return read(lines)
}
