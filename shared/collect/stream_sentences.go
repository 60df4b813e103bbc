package collect

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/taniwha3/thugshells/shared/journal"
)

// Messages of systemd, by MESSAGE_ID: systemd's catalog/systemd.catalog.
const (
	idFailed  = "d9b373ed55a64feb8242e02dbe79a49c"
	idExited  = "98e322203f7a4ed290d09fe03c09fe15"
	idRestart = "5eb03494b6584870a536b337290809b3"
)

// wantedFields are what readLine looks at.
var wantedFields = []string{
	"MESSAGE", "MESSAGE_ID", "_TRANSPORT", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "_PID",
	"UNIT", "UNIT_RESULT", "EXIT_CODE", "EXIT_STATUS",
}

// readLine returns the event in an entry of the journal; ok is false if there is none.
func readLine(e *journal.Entry, units map[string]bool) (h happening, ok bool) {
	switch {
	case e.Get("_TRANSPORT") == "kernel":
		return kernelSentence(joined(e.Get("SYSLOG_IDENTIFIER"), e.Get("MESSAGE")))
	case e.Get("MESSAGE_ID") != "":
		return unitMessage(e)
	case units[e.Get("_SYSTEMD_UNIT")]:
		return encoderSentence(e.Get("MESSAGE"))
	}
	return h, false
}

// joined is a kernel line as it was written: what stands before its first colon
// may have become the identifier.
func joined(identifier, message string) string {
	if identifier == "" || identifier == "kernel" {
		return message
	}
	return identifier + ": " + message
}

// encoderSentence knows what belacoder and srtla_send print to standard error.
// Source: belacoder.c, srtla_send.c.
func encoderSentence(s string) (h happening, ok bool) {
	event := func(name, reason string) (happening, bool) {
		return happening{eventKey: eventKey{source: fromEncoder, name: name, reason: reason}, counts: true}, true
	}
	switch {
	case strings.HasPrefix(s, "Gstreamer pipeline:"):
		return event(pipelineStarted, "")
	case strings.HasPrefix(s, "SRT connected to "):
		h, ok = event(srtConnected, "")
		h.latency = figure(after(s, "Negotiated latency: "), " ms", 600_000)
		return h, ok
	case strings.HasPrefix(s, "The SRT connection failed"):
		return event(srtFailed, "")
	case strings.HasPrefix(s, "Failed to establish an SRT connection"):
		return event(srtNotConnected, refusal(s))
	case strings.HasPrefix(s, "Pipeline stall detected"):
		return event("pipeline_stalled", "")
	case strings.HasPrefix(s, "gstreamer error"), strings.HasPrefix(s, "Failed to parse launch:"):
		return event("pipeline_error", "")
	case strings.HasPrefix(s, "gstreamer eos"):
		return event("pipeline_ended", "")
	case strings.HasPrefix(s, "Max bitrate: "):
		h.bitrate = figure(after(s, "Max bitrate: "), "", 1e9)
		return h, h.bitrate > 0
	}
	return linkSentence(s)
}

// linkSentence knows the sentences of srtla_send.
func linkSentence(s string) (h happening, ok bool) {
	h = happening{eventKey: eventKey{source: fromEncoder}, counts: true}
	switch {
	case s == "warning: no available connections":
		h.name = "no_links"
	case strings.HasPrefix(s, "Failed to re-establish any connections"):
		h.name = "links_failed"
	case strings.HasPrefix(s, "Failed to establish any initial connections"):
		h.name, h.reason = "links_failed", "initial"
	case strings.HasPrefix(s, "The connection group has failed"):
		h.name = "group_failed"
	case strings.HasPrefix(s, "Failed to bind to the source address "):
		h.name, h.link = "link_bind_failed", address(strings.TrimRight(after(s, "source address "), ": "))
		return h, h.link != ""
	default:
		// 192.168.8.100 (0x55e8ada79970): connection established. The number is where
		// the program keeps the link, and another one after each start.
		who, what, found := strings.Cut(s, "): ")
		ip, _, bracket := strings.Cut(who, " (")
		name := map[string]string{
			"connection group registered":                "group_registered",
			"connection established":                     "link_established",
			"connection failed, attempting to reconnect": "link_failed",
			"sendto() failed, disabling the connection":  "link_send_failed",
		}[what]
		h.name, h.link = name, address(ip)
		return h, found && bracket && name != "" && h.link != ""
	}
	return h, true
}

// refusal is why the receiver was not reached, in a word.
func refusal(s string) string {
	for _, r := range []struct{ text, reason string }{
		{"timed out", "timeout"},
		{"already in use", "in_use"},
		{"invalid streamid", "forbidden"},
		{"resolve address", "resolve"},
		{"open the SRT socket", "socket"},
		{"socket options", "socket"},
	} {
		if strings.Contains(s, r.text) {
			return r.reason
		}
	}
	return "unknown"
}

// kernelSentence knows some of the kernel's lines.
func kernelSentence(s string) (h happening, ok bool) {
	name := kernelEvent(s)
	return happening{eventKey: eventKey{source: fromKernel, name: name}, counts: true}, name != ""
}

func kernelEvent(s string) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if !strings.Contains(s, p) {
				return false
			}
		}
		return true
	}
	switch {
	case has("hdmirx", "not lock"), has("hdmirx", "signal is not locked"):
		return "hdmi_no_lock"
	case has("hdmirx", "port has no link"):
		return "hdmi_no_cable"
	case strings.HasPrefix(s, "usb ") && has(": USB disconnect"):
		return "usb_disconnect"
	case has("over-current") && (strings.HasPrefix(s, "usb ") || strings.HasPrefix(s, "hub ")):
		return "usb_overcurrent"
	case has("I/O error, dev mmcblk"), strings.HasPrefix(s, "mmc") && (has("Timeout") || has("timeout") || has("error")):
		return "mmc_error"
	case has("I/O error, dev "):
		return "io_error"
	case has("ut of memory: Killed process"): // also of a cgroup
		return "oom_kill"
	case has("ritical temperature reached"):
		return "thermal_critical"
	case has("nder-voltage detected"), has("ndervoltage detected"):
		return "undervoltage"
	}
	return ""
}

// unitMessage reads what systemd itself says of a unit. Everybody can write a
// MESSAGE_ID; only the process with the number 1 is systemd.
func unitMessage(e *journal.Entry) (h happening, ok bool) {
	unit := e.Get("UNIT")
	if pid := e.Get("_PID"); pid != "" && pid != "1" || !unitName(unit) {
		return h, false
	}
	h = happening{eventKey: eventKey{source: fromSystemd, unit: unit}, counts: true}
	switch e.Get("MESSAGE_ID") {
	case idFailed:
		h.name, h.reason = unitFailed, word(e.Get("UNIT_RESULT"))
	case idRestart:
		h.name = unitRestart
	case idExited:
		h.name, h.reason = unitExited, word(e.Get("EXIT_CODE"))
		h.text = unit + ": the main process ended: " + h.reason + " " + word(e.Get("EXIT_STATUS"))
	default:
		return h, false
	}
	return h, true
}

// unitName says whether a name can be a unit's: systemd.unit(5).
func unitName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Contains(s, ".") && !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(`:-_.\@`, r)
	})
}

// word keeps a short word of systemd's, as in core-dump or 9; other text is not one.
func word(s string) string {
	if s == "" || len(s) > 32 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) {
		return "unknown"
	}
	return s
}

// address returns an IP address as it is written, "" for what is none.
func address(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return ""
	}
	return ip.String()
}

func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	return rest
}

// figure reads a whole number before a unit, 0 for what is none or beyond most.
func figure(s, unit string, most float64) float64 {
	digits, found := strings.CutSuffix(strings.TrimSpace(s), unit)
	n, err := strconv.ParseUint(digits, 10, 63)
	if !found || err != nil || float64(n) > most {
		return 0
	}
	return float64(n)
}
