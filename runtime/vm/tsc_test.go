package vm

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"
)

// TestTheCounterRunsAsTheKernelSays compares with what the kernel says of the processor, which may run
// at another clock than its counter: so only the order of size is held against it.
func TestTheCounterRunsAsTheKernelSays(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("there is no such counter on " + runtime.GOARCH)
	}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`cpu MHz\s*: ([0-9.]+)`).FindSubmatch(text)
	if found == nil {
		t.Skip("the kernel does not say how fast the processor is")
	}
	want, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	got := float64(hostTSC()) / 1000
	t.Logf("counter %.3f MHz, processor %.3f MHz", got, want)
	if got < want/4 || got > want*4 {
		t.Errorf("counter %.3f MHz, processor %.3f MHz", got, want)
	}
}
