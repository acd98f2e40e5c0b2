package main

import (
	"os"
	"testing"

	"sightline/runtime/process"
)

// TestMain lets process boxes be tried: they start with this program.
func TestMain(m *testing.M) {
	if code, ok := process.Main(os.Args); ok {
		os.Exit(code)
	}
	status := m.Run()
	for _, folder := range []string{stagesFolder, programsFolder} {
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
	}
	os.Exit(status)
}
