//go:build race

package upkeep

// raced says that the race detector is built in: it takes several times the memory
// and the time.
const raced = true
