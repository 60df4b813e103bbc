// Package bus reads properties of other programs of this machine over the system's D-Bus.
//
// The one rule here: it only reads properties, starts no program (NO_AUTO_START), and ends
// after two seconds without an answer.
// It returns plain Go values: numbers, strings, booleans,
// []any for arrays and structures, Properties for dictionaries of names.
//
// Source: https://dbus.freedesktop.org/doc/dbus-specification.html
package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	// Timeout bounds a visit to the bus, from connecting to the last answer.
	Timeout = 2 * time.Second
	// maxBytes bounds what is read in a visit. The objects of a modem are 10 KB.
	maxBytes = 4 << 20
	// system is where the bus of the system listens, unless the environment says
	// otherwise.
	system = "unix:path=/run/dbus/system_bus_socket"
)

// ErrAbsent says that there is no bus, or no program of that name on
// it.
var ErrAbsent = errors.New("not on this machine")

// Properties are values by their names.
type Properties map[string]any

// Objects are the properties of each object, by its path and its interfaces.
type Objects map[string]map[string]Properties

// A Visit is one connection to the bus.
type Visit struct {
	ctx    context.Context
	cancel context.CancelFunc
	conn   *dbus.Conn
}

// Connect begins a visit to the bus at the address, "" for the system's. It
// must be ended by Close.
func Connect(address string) (*Visit, error) {
	if address == "" {
		address = os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	}
	if address == "" {
		address = system
	}
	path, err := socketOf(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	socket, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		cancel()
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := socket.SetDeadline(deadline); err != nil {
		cancel()
		return nil, errors.Join(err, socket.Close())
	}
	v := &Visit{ctx: ctx, cancel: cancel}
	v.conn, err = dbus.NewConn(&bounded{Conn: socket, left: maxBytes}, dbus.WithContext(ctx))
	if err == nil {
		err = v.conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	}
	if err == nil {
		err = v.conn.Hello()
	}
	if err != nil {
		err = fmt.Errorf("connect to the bus: %w", v.explain(err))
		cancel()
		socket.Close()
		return nil, err
	}
	return v, nil
}

// Close ends the visit.
func (v *Visit) Close() {
	v.conn.Close()
	v.cancel()
}

// Managed returns all objects of a program that manages some.
func (v *Visit) Managed(program, path string) (Objects, error) {
	var raw map[dbus.ObjectPath]map[string]map[string]dbus.Variant
	if err := v.call(program, path, "org.freedesktop.DBus.ObjectManager.GetManagedObjects", nil, &raw); err != nil {
		return nil, err
	}
	all := make(Objects, len(raw))
	for path, interfaces := range raw {
		all[string(path)] = make(map[string]Properties, len(interfaces))
		for name, properties := range interfaces {
			all[string(path)][name] = plainMap(properties)
		}
	}
	return all, nil
}

// Property returns one property of one object.
func (v *Visit) Property(program, path, iface, name string) (any, error) {
	var value dbus.Variant
	if err := v.call(program, path, "org.freedesktop.DBus.Properties.Get", []any{iface, name}, &value); err != nil {
		return nil, err
	}
	return plain(value.Value()), nil
}

func (v *Visit) call(program, path, method string, args []any, into any) error {
	err := v.conn.Object(program, dbus.ObjectPath(path)).CallWithContext(v.ctx, method, dbus.FlagNoAutoStart, args...).Store(into)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", program, v.explain(err))
}

// explain turns an error of the library into one of this package.
func (v *Visit) explain(err error) error {
	if answer, ok := errors.AsType[dbus.Error](err); ok {
		switch strings.TrimPrefix(answer.Name, "org.freedesktop.DBus.Error.") {
		case "NameHasNoOwner", "ServiceUnknown", "UnknownObject", "UnknownInterface", "UnknownProperty", "UnknownMethod":
			return fmt.Errorf("%w: %s", ErrAbsent, answer.Name)
		}
		return errors.New(answer.Name) // its text may hold anything
	}
	if v.ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer within %v", Timeout)
	}
	return err
}

// socketOf returns the socket of an address such as unix:path=/run/dbus/x, the
// first that is one of this machine.
func socketOf(address string) (string, error) {
	for one := range strings.SplitSeq(address, ";") {
		keys, ok := strings.CutPrefix(one, "unix:")
		if !ok {
			continue
		}
		for key := range strings.SplitSeq(keys, ",") {
			if path, ok := strings.CutPrefix(key, "path="); ok {
				return path, nil
			}
			if name, ok := strings.CutPrefix(key, "abstract="); ok {
				return "@" + name, nil
			}
		}
	}
	return "", fmt.Errorf("no unix socket in the address of the bus: %q", address)
}

// bounded is a connection that ends after so many bytes.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes from the bus: %w", maxBytes, io.ErrUnexpectedEOF)
	}
	n, err := b.Conn.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}
