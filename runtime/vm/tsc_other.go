//go:build !amd64

package vm

// hostTSC is of no use to guests of this architecture.
func hostTSC() uint64 { return 0 }
