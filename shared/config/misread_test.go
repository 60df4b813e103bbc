package config

import (
	"strings"
	"testing"
)

func TestAnAcceptedValueWithAnotherMeaningGetsAHint(t *testing.T) {
	for file, want := range map[string]string{
		"metrics: [{name: network.traffic, config: {exclude_ifaces: [lo, 'docker*']}}]": `metrics[0].config.exclude_ifaces[1]: "docker*" is a regular expression, in which * and ? repeat the character before them; if you mean a shell pattern, write docker.*`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['eth?']}}]":        `write eth.`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['eth[!0]']}}]":     `write eth[^0]`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['enp*s0|usb*']}}]": `write enp.*s0|usb.*`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['br-*']}}]":        `write br-.*`,
		"metrics: [{name: disk.io, config: {allowed_devices: 'sd*'}}]":                  `metrics[0].config.allowed_devices: "sd*" is a regular expression`,
		"metrics: [{name: disk.io, config: {allowed_devices: /dev/sda}}]":               `"/dev/sda" matches no name: write names without a directory`,
		"metrics: [{name: network.traffic, config: {exclude_ifaces: ['lo,docker0']}}]":  `"lo,docker0" is one pattern, which no name matches; write one item for each`,
		"metrics: [{name: network.traffic, config: {exclude_ifaces: ['lo docker0']}}]":  `write one item for each`,
		"metrics: [{name: cpu.temperature, config: {exclude_zones: ['soc*']}}]":         `write soc.*`,
		"metrics: [{name: disk.usage, config: {mountpoints: ['/media/*']}}]":            `metrics[0].config.mountpoints[0]: "/media/*" is one mountpoint of this name`,
		"device: {id: '${HOSTNAME}'}":                                                   `device.id: "${HOSTNAME}" is used literally; variables are not replaced`,
		"device: {id: $HOSTNAME}":                                                       `"$HOSTNAME" is used literally`,
		"device: {id: $(hostname)}":                                                     `variables are not replaced`,
		"storage: {path: '$HOME/metrics.db'}":                                           `storage.path: "$HOME/metrics.db" is used literally`,
		"device: {id: “board-1”}":                                                       `device.id: the quotes of "“board-1”" are part of the value`,
		"device: {id: ‘board-1’}":                                                       `the quotes of`,
		"device: {id: «board-1»}":                                                       `the quotes of`,
		"device: {id: board-1”}":                                                        `the quotes of`,
		"device: {id: \"'board-1'\"}":                                                   `the quotes of`,
		"remote: {token_file: ~/token}":                                                 `remote.token_file: "~/token" is a path in the working directory`,
		"logging: {output: STDOUT}":                                                     `logging.output: "STDOUT" is a file in the working directory; write ./STDOUT if it is meant`,
		"logging: {output: journal}":                                                    `"journal" is a file in the working directory`,
		"device: {id: '{{ inventory_hostname }}'}":                                      `placeholders are not replaced`,
		"device: {id: '@HOSTNAME@'}":                                                    `device.id: "@HOSTNAME@" is used literally`,
		"device: {id: '<hostname>'}":                                                    `placeholders are not replaced`,
		"device: {id: '%H'}":                                                            `placeholders are not replaced`,
		"device: {id: 'cam-%i'}":                                                        `placeholders are not replaced`,
		"device: {id: '%(hostname)s'}":                                                  `placeholders are not replaced`,
		"device: {id: \"board\u00a01\"}":                                                `is invisible or looks like a space`,
		"device: {id: \"board\u200b1\"}":                                                `is invisible or looks like a space`,
		"storage: {path: 'file:/x/m.db'}":                                               `URLs and parameters are not supported here`,
		"storage: {path: '/x/m.db?mode=ro'}":                                            `URLs and parameters are not supported here`,
		"storage: {path: '/x/'}":                                                        `"/x/" is a directory`,
		"remote: {ca_file: 'https://ca.example/ca.pem'}":                                `URLs and parameters are not supported here`,
		"metrics: [{name: disk.usage, config: {mountpoints: ['/dev/sda1']}}]":           `"/dev/sda1" is a device`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['!lo']}}]":         `does not negate a pattern`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['{eth0,eth1}']}}]": `write (a|b)`,
		"metrics: [{name: network.traffic, config: {include_ifaces: ['wlan%d']}}]":      `[0-9]+ matches numbers`,
		"remote: {url: 'http://localhost:8428'}":                                        `remote.url: no path, but samples are accepted at`,
	} {
		c, err := parse("f", []byte(file+"\n"), "board")
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := c.Advice(); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s:\n got %q\nwant %s", file, got, want)
		}
	}
}

func TestACorrectValueGetsNoHint(t *testing.T) {
	for _, pattern := range append(DefaultExcludeIfaces(), DefaultAllowedDevices, `eth\d*`, `wwan[0-9]*`, `(usb|wwan)+\d?`, `eth.?`, `usb\d{1,2}`, `(?i)wlan.*`, `eth0$`, `^lo$`, `eth0|eth1`, `\w*`, `enx[0-9a-f]{12}`, `a[*]`, `.*`, `eth\*`) {
		if problem := misreadText("pattern", pattern); problem != "" {
			t.Errorf("%s: %s", pattern, problem)
		}
	}
	c := Default()
	c.Device.ID = "bord' \"north\" $5 50% «a» b" // odd, and so meant
	c.Storage.Path, c.Logging.Output, c.Remote.CAFile = "run/metrics.db", "./log", "a.pem"
	if got := c.Advice(); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestBadQuotesInOtherValuesAreFaults(t *testing.T) {
	for _, file := range []string{"remote: {url: “http://a/api/v1/import”}", "remote: {timeout: “30s”}", "remote: {batch_size: “30”}", "logging: {level: ‘info’}", "health: {listen: “127.0.0.1”}"} {
		if _, err := parse("f", []byte(file+"\n"), "board"); err == nil {
			t.Errorf("accepted: %s", file)
		}
	}
}
