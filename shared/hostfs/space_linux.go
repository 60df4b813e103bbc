package hostfs

import (
	"errors"
	"math/bits"
)

// space turns counts of blocks into bytes and refuses counts that cannot be.
func space(blocks, free, available, unit uint64) (Space, error) {
	if blocks == 0 || unit == 0 {
		return Space{}, ErrNoBlocks
	}
	if free > blocks || available > blocks {
		return Space{}, errors.New("more free blocks than blocks")
	}
	if over, _ := bits.Mul64(blocks, unit); over != 0 {
		return Space{}, errors.New("a size beyond 64 bits")
	}
	return Space{Total: blocks * unit, Free: free * unit, Available: available * unit}, nil
}
