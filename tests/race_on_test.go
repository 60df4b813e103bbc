//go:build race

package tests

// raceFlags builds the programs as the tests were built.
var raceFlags = []string{"-race"}
