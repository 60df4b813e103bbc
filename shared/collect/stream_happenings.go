package collect

// A happening is an event that a line of the journal reports. It consists of the words
// below and of parsed parts; the line itself is not stored.
type happening struct {
	eventKey
	text    string  // for people; "": it is made from the key
	latency float64 // milliseconds, of srt_connected; 0: not said
	bitrate float64 // bits a second, if the message has it; 0: not
	counts  bool    // it is an event, not only a value
}

// An eventKey is what makes two events the same: the tags of their series.
type eventKey struct {
	source string // encoder, kernel or systemd
	name   string
	reason string
	link   string // address of the link
	unit   string
}

// Sources of events.
const (
	fromEncoder = "encoder"
	fromKernel  = "kernel"
	fromSystemd = "systemd"
)

// Events of the encoder that say whether it is connected.
const (
	srtConnected    = "srt_connected"
	srtFailed       = "srt_failed"
	srtNotConnected = "srt_not_connected"
	pipelineStarted = "pipeline_started"
	unitFailed      = "unit_failed"
	unitExited      = "unit_exited"
	unitRestart     = "unit_restart"
)

// encoderEvents are the encoder's events without a link, with texts for people. Their
// counters start at 0 before the first event.
var encoderEvents = map[string]string{
	pipelineStarted:    "the pipeline was started",
	"pipeline_stalled": "the pipeline stalled: no pictures arrive",
	"pipeline_error":   "the pipeline failed",
	"pipeline_ended":   "the pipeline ended",
	srtConnected:       "connected to the receiver",
	srtFailed:          "the connection to the receiver failed",
	srtNotConnected:    "no connection to the receiver",
	"no_links":         "no link is available",
	"links_failed":     "no link reaches the receiver",
	"group_failed":     "the receiver does not know the links any more; all are connected again",
}

// linkEvents are the events of one link.
var linkEvents = map[string]string{
	"group_registered": "the links were registered as one group",
	"link_established": "the link was established",
	"link_failed":      "the link failed",
	"link_send_failed": "nothing can be sent over the link",
	"link_bind_failed": "the link's address does not exist",
}

// kernelEvents are the events of the kernel. Their counters start at 0.
var kernelEvents = map[string]string{
	"hdmi_no_lock":     "the HDMI receiver has no lock on the signal",
	"hdmi_no_cable":    "the HDMI receiver sees no source",
	"usb_disconnect":   "a USB device was disconnected",
	"usb_overcurrent":  "a USB port was overloaded",
	"mmc_error":        "an SD card or eMMC reported an error",
	"io_error":         "a disk could not be read or written",
	"oom_kill":         "a process was killed for lack of memory",
	"thermal_critical": "a temperature became critical",
	"undervoltage":     "the supply voltage is too low",
}

// words are the text of an event for people.
func (h happening) words() string {
	switch {
	case h.text != "":
		return h.text
	case h.name == unitFailed:
		return h.unit + " failed: " + h.reason
	case h.name == unitRestart:
		return h.unit + " is restarted by systemd"
	case h.source == fromKernel:
		return kernelEvents[h.name]
	case h.link != "":
		return h.link + ": " + linkEvents[h.name]
	case h.reason != "":
		return encoderEvents[h.name] + ": " + h.reason
	}
	return encoderEvents[h.name]
}
