package salvage

import mathbits "math/bits"

// Bits are a set of small numbers.
type bits []uint64

func newBits(n uint32) bits { return make(bits, n/64+1) }

func (b bits) has(n uint32) bool { return int(n/64) < len(b) && b[n/64]>>(n%64)&1 == 1 }

// add adds a number and says whether it is new.
func (b bits) add(n uint32) bool {
	if int(n/64) >= len(b) || b.has(n) {
		return false
	}
	b[n/64] |= 1 << (n % 64)
	return true
}

func (b bits) count() (n int64) {
	for _, word := range b {
		n += int64(mathbits.OnesCount64(word))
	}
	return n
}
