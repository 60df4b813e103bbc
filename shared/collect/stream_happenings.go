package collect

// A happening is an event that a line of the journal tells of. It is made of the
// words below and of parsed parts: no line of anybody's log goes further.
type happening struct {
	eventKey
	text    string  // for people; "" is made of the key
	latency float64 // milliseconds, of srt_connected; 0: not said
	bitrate float64 // bits a second, of the sentence that names it; 0: none
	counts  bool    // it is an event, and not only a figure
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

// encoderEvents are those without a link, with what people read. Their counters
// begin at 0 before anything happens.
var encoderEvents = map[string]string{
	pipelineStarted:    "the pipeline was started",
	"pipeline_stalled": "the pipeline stalled: no pictures arrive",
	"pipeline_error":   "the pipeline failed",
	"pipeline_ended":   "the pipeline came to its end",
	srtConnected:       "connected to the receiver",
	srtFailed:          "the connection to the receiver failed",
	srtNotConnected:    "no connection to the receiver",
	"no_links":         "no link is available",
	"links_failed":     "no link reaches the receiver",
	"group_failed":     "the receiver has forgotten the links; all are begun anew",
}

// linkEvents are those of one link.
var linkEvents = map[string]string{
	"group_registered": "the links were registered as one group",
	"link_established": "the link was established",
	"link_failed":      "the link failed",
	"link_send_failed": "nothing can be sent over the link",
	"link_bind_failed": "the link's address is not there",
}

// kernelEvents are those of the kernel. Their counters begin at 0.
var kernelEvents = map[string]string{
	"hdmi_no_lock":     "the HDMI receiver has no lock on the signal",
	"hdmi_no_cable":    "the HDMI receiver sees no source",
	"usb_disconnect":   "a USB device was disconnected",
	"usb_overcurrent":  "a USB port was overloaded",
	"mmc_error":        "an SD card or eMMC did not answer as it should",
	"io_error":         "a disk did not read or write",
	"oom_kill":         "a process was killed for lack of memory",
	"thermal_critical": "a temperature became critical",
	"undervoltage":     "the supply voltage is too low",
}

// words are what people read of an event.
func (h happening) words() string {
	switch {
	case h.text != "":
		return h.text
	case h.name == unitFailed:
		return h.unit + " failed: " + h.reason
	case h.name == unitRestart:
		return h.unit + " is started again by systemd"
	case h.source == fromKernel:
		return kernelEvents[h.name]
	case h.link != "":
		return h.link + ": " + linkEvents[h.name]
	case h.reason != "":
		return encoderEvents[h.name] + ": " + h.reason
	}
	return encoderEvents[h.name]
}
