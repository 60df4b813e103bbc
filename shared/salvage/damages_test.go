package salvage

import (
	"math/rand/v2"
	"slices"
)

// A damage is something that happens to a file.
type damage struct {
	name string
	do   func(s stock, file []byte, random *rand.Rand) []byte
}

func zero(file []byte, at, n int) []byte {
	if at < len(file) {
		clear(file[at:min(len(file), at+n)])
	}
	return file
}

func noise(file []byte, at, n int, random *rand.Rand) []byte {
	for i := at; i < min(len(file), at+n); i++ {
		file[i] = byte(random.Uint32())
	}
	return file
}

func pageStart(number uint32) int { return (int(number) - 1) * pageSize }

func anyPage(file []byte, random *rand.Rand) int {
	return random.IntN(max(1, len(file)/pageSize)) * pageSize
}

var damages = []damage{
	{"a page zeroed", func(_ stock, f []byte, r *rand.Rand) []byte { return zero(f, anyPage(f, r), pageSize) }},
	{"a page of noise", func(_ stock, f []byte, r *rand.Rand) []byte { return noise(f, anyPage(f, r), pageSize, r) }},
	{"20 pages zeroed", func(_ stock, f []byte, r *rand.Rand) []byte {
		for range 20 {
			zero(f, anyPage(f, r), pageSize)
		}
		return f
	}},
	{"20 pages of noise", func(_ stock, f []byte, r *rand.Rand) []byte {
		for range 20 {
			noise(f, anyPage(f, r), pageSize, r)
		}
		return f
	}},
	// None goes over the end of a page: it may then change a value at the end of
	// one and leave no other trace there, as a single flipped bit does.
	{"20 runs of noise", func(_ stock, f []byte, r *rand.Rand) []byte {
		for range 20 {
			noise(f, anyPage(f, r)+r.IntN(pageSize-100), 100, r)
		}
		return f
	}},
	{"an upper page of samples zeroed", func(s stock, f []byte, r *rand.Rand) []byte {
		return zero(f, pageStart(s.upper[r.IntN(len(s.upper))]), pageSize)
	}},
	{"4 KiB at an upper page of samples zeroed", func(s stock, f []byte, r *rand.Rand) []byte {
		return zero(f, pageStart(s.upper[r.IntN(len(s.upper))])/4096*4096, 4096)
	}},
	{"the root of samples zeroed", func(s stock, f []byte, _ *rand.Rand) []byte { return zero(f, pageStart(s.root), pageSize) }},
	{"the first page zeroed", func(_ stock, f []byte, _ *rand.Rand) []byte { return zero(f, 0, pageSize) }},
	{"the first 4 KiB zeroed", func(_ stock, f []byte, _ *rand.Rand) []byte { return zero(f, 0, 4096) }},
	{"the first 8 KiB of noise", func(_ stock, f []byte, r *rand.Rand) []byte { return noise(f, 0, 8192, r) }},
	{"the first 64 KiB zeroed", func(_ stock, f []byte, _ *rand.Rand) []byte { return zero(f, 0, 64<<10) }},
	{"the pointer map of noise", func(_ stock, f []byte, r *rand.Rand) []byte {
		for n := uint32(2); pageStart(n) < len(f); n += pageSize/5 + 1 {
			noise(f, pageStart(n), pageSize, r)
		}
		return f
	}},
	{"every 8th page zeroed", func(_ stock, f []byte, r *rand.Rand) []byte {
		for at := r.IntN(8) * pageSize; at < len(f); at += 8 * pageSize {
			zero(f, at, pageSize)
		}
		return f
	}},
	{"64 KiB zeroed", func(_ stock, f []byte, r *rand.Rand) []byte { return zero(f, anyPage(f, r), 64<<10) }},
	{"cut to half", func(_ stock, f []byte, _ *rand.Rand) []byte { return f[:len(f)/2/pageSize*pageSize] }},
	{"cut at an odd size", func(_ stock, f []byte, r *rand.Rand) []byte { return f[:len(f)/3+r.IntN(len(f)/2+1)] }},
	{"the second half first", func(_ stock, f []byte, _ *rand.Rand) []byte { // pages in the places of others
		half := len(f) / 2 / pageSize * pageSize
		return slices.Concat(f[half:], f[:half])
	}},
	{"a page in the place of another", func(_ stock, f []byte, r *rand.Rand) []byte {
		from, to := anyPage(f, r), anyPage(f, r)
		copy(f[to:], f[from:min(len(f), from+pageSize)])
		return f
	}},
	{"longer by noise", func(_ stock, f []byte, r *rand.Rand) []byte {
		return noise(append(f, make([]byte, 5000)...), len(f), 5000, r)
	}},
}

// moves says whether a damage puts pages in the places of others, so that what the
// file says of its pages is no longer of them.
func (d damage) moves() bool {
	return d.name == "the second half first" || d.name == "a page in the place of another"
}
