package salvage

import "slices"

// dropBeforeBroken drops samples of a damaged page that lie directly before a
// broken cell, unless the beginning of that cell is intact: the damage may begin in
// the value of such a sample.
func (s *scanner) dropBeforeBroken() {
	starts := []int{s.page.usable}
	for _, one := range s.spans {
		starts = append(starts, one.start)
	}
	slices.Sort(starts)
	kept := s.samples[:0]
	for i, one := range s.spans {
		next, adjacent := slices.BinarySearch(starts, one.end)
		broken := !adjacent && next < len(starts) && slices.ContainsFunc(s.broken, func(at int) bool { return at >= one.end && at < starts[next] })
		if !broken || s.page.beginsSample(one.end) {
			kept = append(kept, s.samples[i])
		}
	}
	s.samples = kept
}

// beginsSample says whether the bytes at a place of the page look like the
// beginning of a cell of samples: its length, the length of the record's header,
// and the types of the key.
func (p page) beginsSample(at int) bool {
	if p.kind() == indexInterior {
		at += 4
	}
	if at+4 > len(p.data) {
		return len(p.data) < p.usable // the page is cut off there, and intact before it
	}
	alike := 0
	for i, most := range []byte{0x7f, byte(len(samplesTable.columns) + 1), 6, 4} {
		if b := p.data[at+i]; b > 0 && b <= most && (i != 1 || b == most) {
			alike++
		}
	}
	return alike > 2
}

// keepRising keeps the longest run of samples whose keys are in order: a key that
// the damage changed is out of order.
func (s *scanner) keepRising() {
	all := s.samples
	length, before := make([]int, len(all)), make([]int, len(all)) // of the longest run that ends with each sample
	last := 0
	for i := range all {
		length[i], before[i] = 1, -1
		for j := range i {
			if length[j] >= length[i] && all[j].before(&all[i]) {
				length[i], before[i] = length[j]+1, j
			}
		}
		if length[i] > length[last] {
			last = i
		}
	}
	kept := make([]sample, length[last])
	for i := last; i >= 0; i = before[i] {
		kept[length[i]-1] = all[i]
	}
	s.samples = append(all[:0], kept...)
}
