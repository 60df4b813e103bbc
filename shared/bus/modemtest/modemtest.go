// Package modemtest is a modem for ModemManager in its test mode: it answers AT
// commands on a socket as one with a SIM does.
package modemtest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
)

// registered are the answers of a modem that is registered at home.
var registered = map[string]string{
	"+GCAP": "+GCAP: +CGSM", "I": "Maker\r\nTester\r\n1.0", "+CGMI": "Maker", "+CGMM": "Tester", "+CGMR": "1.0", "+CGSN": "490154203237518",
	"+WS46=?": "+WS46: (12,22,25,28)", "+CGDCONT=?": "+CGDCONT: (1-16),\"IP\",,,(0-2),(0-4)", "+CIMI": "001010987654321", "+CFUN?": "+CFUN: 1",
	"+CSCS=?": "+CSCS: (\"IRA\",\"UCS2\",\"GSM\")", "+CPIN?": "+CPIN: READY", "+CLCK=?": "+CLCK: (\"SC\")", "+CLCK=\"SC\",2": "+CLCK: 0", "+CMGF=?": "+CMGF: (0,1)",
	"+CREG?": "+CREG: 2,1,\"1234\",\"001122BB\",7", "+CGREG?": "+CGREG: 2,1,\"1234\",\"001122BB\",7", "+CEREG?": "+CEREG: 2,1,\"1234\",\"001122BB\",7",
	"+COPS=3,2;+COPS?": "+COPS: 0,2,\"00101\",7", "+COPS=3,0;+COPS?": "+COPS: 0,0,\"Test Network\",7", "+CSQ": "+CSQ: 17,99",
	"+CESQ": "+CESQ: 99,99,255,255,19,46", "+CESQ=?": "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",
	"+CRSM=176,12258,0,0,10": "+CRSM: 144,0,\"98101430121181157002\"",
}

// settings begin the commands that are answered with OK and nothing else.
var settings = []string{"E0", "V1", "+CMEE", "X4", "&C1", "+IFC", "+CREG=", "+CGREG=", "+CEREG=", "+CSCS=", "+CMGF=", "+CFUN=", "Z", "+COPS=", "Q0", "S0", "+CPIN="}

// A Modem answers until it is unplugged.
type Modem struct {
	mu      sync.Mutex
	answers map[string]string
	listens net.Listener
	talks   []net.Conn
}

// Plug makes a modem that listens on the port, which is named as ModemManager
// wants it: "abstract:" and any word. The answers go over those of one that is
// registered at home: by command, without its AT.
func Plug(port string, answers map[string]string) (*Modem, error) {
	var any net.ListenConfig
	l, err := any.Listen(context.Background(), "unix", "@"+port)
	if err != nil {
		return nil, fmt.Errorf("plug in a modem: %w", err)
	}
	m := &Modem{answers: maps.Clone(registered), listens: l}
	m.Set(answers)
	go m.serve()
	return m, nil
}

// Set changes answers while the modem runs.
func (m *Modem) Set(answers map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.answers, answers)
}

// Unplug ends the modem and hangs up.
func (m *Modem) Unplug() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listens.Close()
	for _, c := range m.talks {
		c.Close()
	}
}

func (m *Modem) serve() {
	for {
		conn, err := m.listens.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.talks = append(m.talks, conn)
		m.mu.Unlock()
		go m.talk(conn)
	}
}

func (m *Modem) talk(conn net.Conn) {
	defer conn.Close()
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\r')
		if err != nil {
			return
		}
		if _, err := conn.Write([]byte(m.reply(strings.TrimPrefix(strings.TrimSpace(line), "AT")))); err != nil {
			return
		}
	}
}

func (m *Modem) reply(command string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch answer, known := m.answers[command]; {
	case known && strings.HasPrefix(answer, "+CME ERROR"):
		return "\r\n" + answer + "\r\n"
	case known:
		return "\r\n" + answer + "\r\n\r\nOK\r\n"
	}
	for _, s := range settings {
		if command == "" || strings.HasPrefix(command, s) {
			return "\r\nOK\r\n"
		}
	}
	return "\r\nERROR\r\n"
}
