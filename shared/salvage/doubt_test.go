package salvage

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// pagesOfSamples returns some pages of samples of the stock: leaves from its
// beginning to its end, and an upper page.
func pagesOfSamples(s stock) map[uint32][]byte {
	numbers := slices.Compact(slices.Sorted(maps.Values(s.pageOf)))
	chosen := []uint32{s.upper[0]}
	for i := range 3 {
		chosen = append(chosen, numbers[(i+1)*(len(numbers)-1)/3])
	}
	all := map[uint32][]byte{}
	for _, number := range chosen {
		all[number] = bytes.Clone(s.file[pageStart(number) : pageStart(number)+pageSize])
	}
	return all
}

// readPage counts the samples that are found in a page: those that were in it before
// it was damaged, and the others.
func (s stock) readPage(scan *scanner, number uint32, data []byte) (right, wrong int) {
	for _, one := range scan.readSamples(page{number, pageSize, data}, func(*sample) bool { return true }) {
		if k := (key{one.at, int64(one.series)}); s.pageOf[k] == number && s.rows[k] == one.String() {
			right++
		} else {
			wrong++
		}
	}
	return right, wrong
}

// String returns the columns of a sample as readRows does.
func (s sample) String() string {
	value, words, session := "-", "-", "-"
	switch s.kind {
	case whole:
		value = fmt.Sprint(s.number)
	case float:
		value = strconv.FormatFloat(math.Float64frombits(uint64(s.number)), 'g', -1, 64) //nolint:gosec // the bits
	}
	if s.text != nil {
		words = *s.text
	}
	if s.session != noSession {
		session = fmt.Sprint(s.session)
	}
	return fmt.Sprintf("%s %s %s %d %d", value, words, session, s.state, s.priority)
}

func (s stock) scanner() *scanner {
	return &scanner{pages: newPages(newDevice(bytes.NewReader(s.file), int64(len(s.file))), newDevice(nil, 0))}
}

// A flipped bit in a sample changes or loses it: no other sample of its page goes
// with it, unless it now has the key of another one. The kind of the page and the
// number of its cells are exceptions: with them the page is lost.
func TestAFlippedBitCostsOneSample(t *testing.T) {
	s := mustStock(t)
	scan := s.scanner()
	for number, data := range pagesOfSamples(s) {
		all, wrong := s.readPage(scan, number, data)
		if all < 5 || wrong > 0 {
			t.Fatalf("page %d: %d samples, %d of them wrong", number, all, wrong)
		}
		for bit := range 8 * pageSize {
			if at := bit / 8; at == 0 || at == 3 || at == 4 {
				continue
			}
			data[bit/8] ^= 1 << (bit % 8)
			right, wrong := s.readPage(scan, number, data)
			data[bit/8] ^= 1 << (bit % 8)
			if wrong > 1 || right+wrong < all-1 {
				t.Errorf("page %d, bit %d of byte %d: %d of %d samples, and %d wrong ones", number, bit%8, bit/8, right, all, wrong)
			}
		}
	}
}

// A run of noise in a page costs the samples in which it lies, and of the others only
// one before it, if nothing shows where the noise begins.
func TestNoiseInAPageCostsOnlyTheSamplesAroundIt(t *testing.T) {
	s := mustStock(t)
	scan, random := s.scanner(), rand.New(rand.NewPCG(1, 2))
	for number, sound := range pagesOfSamples(s) {
		scan.readSamples(page{number, pageSize, sound}, func(*sample) bool { return true })
		spans := slices.Clone(scan.spans)
		first := slices.MinFunc(spans, func(a, b span) int { return a.start - b.start }).start
		for range 1000 {
			data := bytes.Clone(sound)
			length := 1 + random.IntN(100)
			begin := first + random.IntN(pageSize-length-first+1)
			noise(data, begin, length, random)
			hit := 0
			for _, one := range spans {
				if one.start < begin+length && one.end > begin {
					hit++
				}
			}
			right, _ := s.readPage(scan, number, data)
			if right < len(spans)-hit-2 {
				t.Errorf("page %d, noise from byte %d to %d, in %d samples: %d of %d are left", number, begin, begin+length, hit, right, len(spans))
			}
		}
	}
}

// Of a sector of zeros or ones, the first byte shows where it begins, unless the value
// before it ends with the same byte.
func TestARunOfEqualBytesCostsOnlyTheSamplesInIt(t *testing.T) {
	s := mustStock(t)
	scan := s.scanner()
	for number, sound := range pagesOfSamples(s) {
		scan.readSamples(page{number, pageSize, sound}, func(*sample) bool { return true })
		spans := slices.Clone(scan.spans)
		first := slices.MinFunc(spans, func(a, b span) int { return a.start - b.start }).start
		for begin := first; begin < pageSize-100; begin++ {
			data := bytes.Clone(sound)
			copy(data[begin:begin+100], bytes.Repeat([]byte{0xff}, 100))
			hit := 0
			for _, one := range spans {
				if one.start < begin+100 && one.end > begin {
					hit++
				}
			}
			if right, _ := s.readPage(scan, number, data); right < len(spans)-hit {
				t.Errorf("page %d, from byte %d, in %d samples: %d of %d are left", number, begin, hit, right, len(spans))
			}
		}
	}
}
