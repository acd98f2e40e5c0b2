package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/runtime/container/enginetest"
	"sightline/runtime/vm"
)

// guestPatience is how long what is translated may take on a busy machine.
const guestPatience = 10 * time.Minute

// requireBox skips a test where a kind of box does not run, with the probe's reason.
func requireBox(t *testing.T, r configs.Runtime, kind string) {
	t.Helper()
	d := boxDrivers(r)[kind]
	if guest, ok := d.(*vm.Driver); ok {
		guest.Init = filepath.Join(programs(t), "sightline-init") // it is not beside the test's own program
	}
	p := d.Probe(t.Context())
	if p.Err != nil {
		t.Skipf("no %s box runs here: %v", kind, p.Err)
	}
	t.Logf("%s: %s", kind, p.Engine)
}

// testKernel is the guests' kernel that the tests' setup has unpacked; empty: the machine's own.
func testKernel() (kernel, modules string) {
	root := os.Getenv("SIGHTLINE_TEST_GUEST")
	found, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*-cloud-"+runtime.GOARCH))
	if root == "" || len(found) == 0 {
		return "", ""
	}
	kernel = slices.Max(found)
	version := filepath.Base(kernel)[len("vmlinuz-"):]
	return kernel, filepath.Join(root, "lib/modules", version)
}

// engines starts or finds what kinds of boxes stand on, and says so for a pipeline file.
func engines(t *testing.T, kinds ...string) string {
	t.Helper()
	var r configs.Runtime
	text := ""
	r.VM.Accelerator = configs.AcceleratorAuto
	if slices.Contains(kinds, configs.Container) {
		r.Container.Engine = enginetest.Docker(t).Host
		text += fmt.Sprintf("  container: {engine: %q}\n", r.Container.Engine)
	}
	if r.VM.Kernel, r.VM.Modules = testKernel(); slices.Contains(kinds, configs.VM) && r.VM.Kernel != "" {
		text += fmt.Sprintf("  vm: {kernel: %q, modules: %q}\n", r.VM.Kernel, r.VM.Modules)
	}
	for _, kind := range kinds {
		requireBox(t, r, kind)
	}
	return text
}

func TestAPipelineInEachKindOfBox(t *testing.T) {
	if testing.Short() {
		t.Skip("whole pipelines in engines and guests; process boxes are tried always")
	}
	for _, kind := range []string{configs.Container, configs.VM, configs.Unikernel} {
		t.Run(kind, func(t *testing.T) {
			flows(t, "runtime:\n  default: "+kind+"\n"+engines(t, kind))
		})
	}
}

func TestAPipelineWithEachStageElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("a whole pipeline in engines and guests; process boxes are tried always")
	}
	text := engines(t, configs.Container, configs.VM, configs.Unikernel)
	flows(t, "runtime:\n  stages:\n    gate: {in: container}\n    scene: {in: vm}\n    cloud: {in: unikernel}\n"+text)
}

// flows runs a pipeline until results are there, right ones, kills its supervisor once, and stops it.
func flows(t *testing.T, boxes string) {
	t.Helper()
	s := newSite(t)
	d := newDevice(t, s, boxes)
	d.patience = guestPatience
	began := time.Now()
	d.run("front.yaml")
	d.up()
	t.Logf("all stages run after %s", time.Since(began).Round(time.Millisecond))
	d.await("the first result comes", func() bool { return len(s.results()) > 0 })
	t.Logf("the first result came after %s", time.Since(began).Round(time.Millisecond))
	d.await("the camera's clock is known", func() bool { return s.settled() >= 10 })
	running := d.boxes()
	d.kill()
	back := time.Now()
	d.run()
	d.await("frames that were taken after that flow", func() bool {
		all := s.results()
		return all[len(all)-1].Captured.After(back)
	})
	t.Logf("frames flow %s after the supervisor's return", time.Since(back).Round(time.Millisecond))
	d.up()
	sameBoxes(t, d, running)
	for _, st := range d.states() {
		t.Logf("%s in %s: %.2f s of the processor, %d MiB", st.Stage, st.Driver, st.CPU, st.Memory>>20)
	}
	d.stop()
	s.check(t)
}

// settled counts the results whose time the camera told and whose truth is clear.
func (s *site) settled() int {
	n := 0
	for _, r := range s.results() {
		if r.CaptureOrigin == pipeline.OriginSenderReport && s.truth(r.Captured).Settled {
			n++
		}
	}
	return n
}
