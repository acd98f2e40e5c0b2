package container

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sightline/runtime/container/enginetest"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

func TestMain(m *testing.M) {
	if code, ok := drivertest.Main(os.Args, newDriver); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// hostVariable is how supervisors that the suite starts are told the engine.
const hostVariable = "SIGHTLINE_TEST_ENGINE"

func newDriver() driver.Driver { return &Driver{Host: os.Getenv(hostVariable)} }

// harness is the suite's, for one engine.
func harness(t *testing.T, e *enginetest.Engine) drivertest.Harness {
	t.Setenv(hostVariable, e.Host)
	return drivertest.Harness{New: newDriver, TellsExit: true, Left: func(spec driver.Spec) []string {
		return slices.DeleteFunc(e.Containers(), func(name string) bool { return !strings.HasSuffix(name, spec.ID) })
	}}
}

func TestDriverOnDocker(t *testing.T) {
	drivertest.Run(t, harness(t, enginetest.Docker(t)))
}

func TestDriverOnPodman(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: -short leaves the suite to Docker")
	}
	drivertest.Run(t, harness(t, enginetest.Podman(t)))
}
