// Package pipelinetest holds the contract suites of sources, classifiers and sinks, and what tests share.
// Package pipelinetest holds what tests of several packages share.
package pipelinetest

import (
	"os"
	"testing"
)

// TestData returns the folder of models, pictures and clips that tests use, and skips the test when
// there is none.
func TestData(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("SIGHTLINE_TESTDATA")
	if folder == "" {
		t.Skip("SIGHTLINE_TESTDATA is not set: it names the folder of test data")
	}
	return folder
}
