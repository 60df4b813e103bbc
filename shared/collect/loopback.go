package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxPage     = 1 << 20
	pageTimeout = 2 * time.Second
)

// A page is one address on this machine that is read over HTTP. Its path may have a
// credential in it, so no error repeats it.
type page struct {
	hosts []string // to dial, in this order
	host  string   // for the header Host
	path  string
}

// newPage fails if the address is not on this machine.
func newPage(address string) (page, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return page{}, errors.New("want an http URL of this machine")
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	p := page{host: u.Host, path: u.RequestURI()}
	if strings.EqualFold(u.Hostname(), "localhost") {
		// Not looked up, because a resolver could return another machine.
		p.hosts = []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
		return p, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Unmap().IsLoopback() && ip.Zone() == "" {
		p.hosts = []string{net.JoinHostPort(ip.Unmap().String(), port)}
		return p, nil
	}
	return page{}, errors.New("want an address of this machine: 127.0.0.1, [::1] or localhost")
}

// get requests the page and returns its body. It uses HTTP/1.0 without net/http, which
// would add megabytes to the program.
// Source: RFC 9112.
func (p page) get() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pageTimeout)
	defer cancel()
	var conn net.Conn
	var err error
	for _, host := range p.hosts {
		if conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", host); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: application/json, text/plain\r\nConnection: close\r\n\r\n", p.path, p.host); err != nil {
		return nil, err
	}
	return readPage(conn)
}

// readPage reads an answer: a status of 200, headers, and a body of at most
// maxPage bytes that is as long as it says.
func readPage(from io.Reader) ([]byte, error) {
	r := bufio.NewReader(io.LimitReader(from, maxPage+64<<10))
	status, err := r.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	fields := strings.Fields(status)
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "HTTP/1.") {
		return nil, errors.New("the answer is not HTTP")
	}
	if fields[1] != "200" {
		return nil, fmt.Errorf("the answer is %s, want 200", quote([]byte(fields[1])))
	}
	length := -1
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the headers do not end: %w", err)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > maxPage {
				return nil, fmt.Errorf("a length of %s", quote([]byte(value)))
			}
		case "transfer-encoding":
			return nil, fmt.Errorf("the answer has the Transfer-Encoding %s, which HTTP/1.0 does not have", quote([]byte(value)))
		}
	}
	body, err := io.ReadAll(io.LimitReader(r, maxPage+1))
	switch {
	case err != nil && length < 0 || err != nil && len(body) < length:
		return nil, err
	case len(body) > maxPage:
		return nil, fmt.Errorf("an answer of more than %d bytes", maxPage)
	case length >= 0 && len(body) < length:
		return nil, fmt.Errorf("the answer ends after %d of %d bytes", len(body), length)
	case length >= 0:
		body = body[:length]
	}
	return body, nil
}
