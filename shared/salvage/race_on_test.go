//go:build race

package salvage

// raced says that the race detector is built in: it takes several times the memory
// and the time.
const raced = true
