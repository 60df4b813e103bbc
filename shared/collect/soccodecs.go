package collect

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/metric"
)

// cores reads the load of the codecs, which is empty until a user with the
// rights for it sets load_interval beside it.
func (c *socCollector) cores(r *reading) {
	data, err := hostfs.ReadFile(c.codecs)
	if absent(err) {
		return
	}
	if err != nil {
		r.fault(err)
		return
	}
	cores, err := parseCodecLoad(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.codecs, err))
	}
	for _, core := range cores {
		tags := metric.Tags("core", core.name)
		r.add("soc.codec_load_percent", tags, core.load)
		r.add("soc.codec_utilization_percent", tags, core.utilization)
	}
}

// codecCore is one line of /proc/mpp_service/load: the time that the core had a
// task, and the time that it worked on one, in percent.
type codecCore struct {
	name              string
	load, utilization float64
}

// parseCodecLoad reads lines such as
//
//	fdbd0000.rkvenc-core      load:  98.26% utilization:  97.25%
//
// A line that is garbled or of a core that came before is an error for that
// line only.
// Source: mpp_show_session_load in drivers/video/rockchip/mpp/mpp_service.c of
// Rockchip's kernels.
func parseCodecLoad(data []byte) ([]codecCore, error) {
	var cores []codecCore
	var f faults
	seen := map[string]bool{}
	var buf [6][]byte
	for line := range lines(data) {
		core, err := parseCodecCore(split(line, buf[:]))
		switch {
		case err != nil:
			f.addf("line %s: %w; line skipped", quote(line), err)
		case seen[core.name]:
			f.addf("line %s: %s appears twice; the first one is used", quote(line), core.name)
		case len(cores) == maxCodecCores:
			f.addf("line %s: more than %d cores; line skipped", quote(line), maxCodecCores)
		default:
			seen[core.name] = true
			cores = append(cores, core)
		}
	}
	return cores, f.err()
}

func parseCodecCore(fields [][]byte) (codecCore, error) {
	if len(fields) != 5 || string(fields[1]) != "load:" || string(fields[3]) != "utilization:" {
		return codecCore{}, errors.New("not a core with load and utilization")
	}
	core, err := name(fields[0])
	if err != nil {
		return codecCore{}, err
	}
	var v [2]float64
	for i, field := range [][]byte{fields[2], fields[4]} {
		digits, ok := bytes.CutSuffix(field, []byte("%"))
		if !ok {
			return codecCore{}, fmt.Errorf("%s is not a percentage", quote(field))
		}
		if v[i], err = decimal(digits); err != nil {
			return codecCore{}, err
		}
		if v[i] > 1000 { // an interval that ended late shows somewhat over 100
			return codecCore{}, fmt.Errorf("%s is far over 100 percent", quote(field))
		}
	}
	return codecCore{core, v[0], v[1]}, nil
}
