package collect

import (
	"fmt"
	"strconv"

	"github.com/taniwha3/thugshells/shared/hostfs"
)

// packets reads what the processors took from the links, could not take, and
// left for another turn.
func (c *healthCollector) packets(r *reading) {
	data, err := hostfs.ReadFile(c.softnetStat)
	if absent(err) {
		return
	}
	if err != nil {
		r.fault(err)
		return
	}
	rows, err := parseSoftnet(data)
	if err != nil {
		r.fault(fmt.Errorf("read %s: %w", c.softnetStat, err))
		if len(rows) == 0 {
			return
		}
	}
	total := c.softnet.sum(rows)
	r.add("softnet.processed_total", "", float64(total[0]))
	r.add("softnet.dropped_total", "", float64(total[1]))
	r.add("softnet.squeezed_total", "", float64(total[2]))
}

// softnetRow is one processor: packets taken, dropped because its queue was
// full, and times that it stopped with packets left.
type softnetRow struct {
	cpu    uint64
	counts [3]uint32
}

// parseSoftnet reads a row of hexadecimal counts for each processor that is
// online. Which one it is stands in the 13th column; before Linux 5.10 it is the
// number of the row. A row that is garbled is an error for that row only.
// Source: softnet_seq_show in net/core/net-procfs.c.
func parseSoftnet(data []byte) ([]softnetRow, error) {
	var rows []softnetRow
	var f faults
	seen := map[uint64]bool{}
	var buf [13][]byte
	n := uint64(0)
	for line := range lines(data) {
		fields := split(line, buf[:])
		row := softnetRow{cpu: n}
		n++
		err := row.parse(fields)
		if err == nil && seen[row.cpu] {
			err = fmt.Errorf("processor %d comes twice", row.cpu)
		}
		if err != nil {
			f.addf("line %s: %w; line skipped", quote(line), err)
			continue
		}
		seen[row.cpu] = true
		rows = append(rows, row)
	}
	if n == 0 {
		f.addf("empty; no counts of packets this round")
	}
	return rows, f.err()
}

func (s *softnetRow) parse(fields [][]byte) error {
	if len(fields) < len(s.counts) {
		return fmt.Errorf("%d counts, want 3", len(fields))
	}
	for i := range s.counts {
		v, err := strconv.ParseUint(string(fields[i]), 16, 32)
		if err != nil {
			return fmt.Errorf("%s is not a 32-bit hexadecimal count", quote(fields[i]))
		}
		s.counts[i] = uint32(v)
	}
	if len(fields) == 13 {
		cpu, err := strconv.ParseUint(string(fields[12]), 16, 32)
		if err != nil {
			return fmt.Errorf("%s is not a processor number", quote(fields[12]))
		}
		s.cpu = cpu
	}
	return nil
}

// softnetTotals adds up counts of 32 bits that begin again at 0, on a board that
// streams after some days, and rows that are gone while their processor is
// offline. Neither may look like a reset of the sum.
type softnetTotals struct {
	total [3]uint64
	last  map[uint64][3]uint32
}

func (s *softnetTotals) sum(rows []softnetRow) [3]uint64 {
	if s.last == nil {
		s.last = map[uint64][3]uint32{}
	}
	for _, row := range rows {
		last := s.last[row.cpu] // none: all of it is new
		for i, v := range row.counts {
			s.total[i] += uint64(v - last[i])
		}
		s.last[row.cpu] = row.counts
	}
	return s.total
}
