//go:build race

package classify

// Under the race detector sync.Pool forgets at random.
const raceEnabled = true
