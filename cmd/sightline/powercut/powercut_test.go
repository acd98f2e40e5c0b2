// Package powercut_test has the proof that a power cut takes nothing away: a whole device, with its
// camera and its broker, is one guest of QEMU, which is killed while results flow, and booted again.
package powercut_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightline/models/onnx/library"
	control "sightline/runtime/supervisor"
)

func TestAPowerCutTakesNothingAway(t *testing.T) {
	m := prepare(t)
	g := m.boot(t)
	g.must(order{World: true})
	g.must(order{Start: []string{supervisor, "run", settings + "/front.yaml"}, Env: []string{
		"CAMERA_PASSWORD=seen", "SIGHTLINE_STAGES=" + programs, "SIGHTLINE_ONNXRUNTIME=/lib/libonnxruntime.so",
	}})
	g.flow(10)
	g.up()
	var acked []string
	for range boots(t) {
		acked = cut(t, m, g, acked)
		g = m.boot(t)
		returns(t, g, acked)
	}
	cut(t, m, g, acked)
}

// boots returns how often the device comes back, once unless SIGHTLINE_TEST_POWERCUTS says more; the
// power is cut once more than that.
func boots(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SIGHTLINE_TEST_POWERCUTS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SIGHTLINE_TEST_POWERCUTS is %q, not how often the device is to come back", text)
	}
	return n
}

// prepare makes the device, or says why there is none.
func prepare(t *testing.T) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("boots translated guests")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the device of this test is for amd64")
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, name := range []string{"qemu-img", "mkfs.ext4", "e2fsck", "debugfs"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("the device's disk: ", err)
		}
	}
	onnx, _, err := library.Find("")
	if err != nil {
		t.Skip(err)
	}
	m := newMachine(t)
	folder := os.Getenv("SIGHTLINE_TEST_PROGRAMS")
	if folder == "" {
		folder = filepath.Join(m.folder, "built")
		tool(t, "../../../scripts/build", folder, "test")
	}
	m.install(t, folder, onnx)
	return m
}

// cut takes the power away at some moment while results flow, checks what is on the disk then, and
// returns all that was acknowledged up to now, the earlier ones first.
func cut(t *testing.T, m *machine, g *guest, earlier []string) []string {
	t.Helper()
	const unflushed = stateFolder + "/unflushed"
	time.Sleep(rand.N(3 * time.Second)) // the moment is the point
	g.must(order{Write: unflushed})
	g.cut()
	acked := slices.Concat(earlier, g.acknowledged())
	f := m.find(t)
	if text := f.file(unflushed); text != "" {
		t.Errorf("what was never flushed is on the disk, so this is no power cut: %d bytes", len(text))
	}
	checkDisk(t, f, acked)
	return acked
}

// checkDisk holds a disk against what was acknowledged. How many results are in the file of results is
// only told: package jsonl says that it forces none to the disk.
func checkDisk(t *testing.T, f *found, acked []string) {
	t.Helper()
	missing(t, f.file(upstream), acked)
	summary := f.checkState()
	whole, torn := resultLines(t, f.file(stateFolder+"/results.jsonl"))
	t.Logf("%d acknowledged; audit log of %d records, torn %d and %d bytes; %d lines of results, %d bytes torn",
		len(acked), summary.Last, summary.Torn, summary.Tail, whole, torn)
}

// missing tells of each that was acknowledged and is not there.
func missing(t *testing.T, text string, acked []string) {
	t.Helper()
	there := strings.Split(text, "\n")
	for _, id := range acked {
		if !slices.Contains(there, id) {
			t.Errorf("result %s was acknowledged, and is not there", id)
		}
	}
}

// resultLines checks a file of results: only its last line may be torn.
func resultLines(t *testing.T, text string) (whole, torn int) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for _, l := range lines[:len(lines)-1] {
		if !json.Valid([]byte(l)) {
			t.Errorf("line %d of the file of results is %q", whole+1, l)
		}
		whole++
	}
	return whole, len(lines[len(lines)-1])
}

// returns checks that the device, without a network and with nothing but its supervisor and its state
// folder, is as it was.
func returns(t *testing.T, g *guest, acked []string) {
	t.Helper()
	began := time.Now()
	g.must(order{Remove: notState})
	missing(t, g.must(order{Read: upstream}), acked)
	g.must(order{World: true})
	g.must(order{Start: []string{supervisor, "run"}})
	g.flow(3)
	t.Logf("results flow %s after the boot", time.Since(began).Round(time.Second))
	g.up()
	g.noIntentIsLeft()
	if out := g.must(order{Run: []string{supervisor, "audit", "verify"}}); !strings.Contains(out, "the chain holds") {
		t.Errorf("audit verify: %s", out)
	} else {
		t.Log(strings.TrimSpace(out))
	}
}

// up waits until all stages run.
func (g *guest) up() {
	g.t.Helper()
	g.await("all stages run", func() bool {
		list := g.ps()
		return len(list) == 4 && !slices.ContainsFunc(list, func(s control.State) bool { return s.Phase != control.Running })
	})
}

// ps returns the stages; none while the supervisor does not answer.
func (g *guest) ps() []control.State {
	g.t.Helper()
	var list []control.State
	out, failed := g.ask(order{Run: []string{supervisor, "ps", "--json"}})
	if failed != "" || json.Unmarshal([]byte(out), &list) != nil {
		return nil
	}
	return list
}

// noIntentIsLeft checks that the intents of the boxes that went with the power are gone.
func (g *guest) noIntentIsLeft() {
	g.t.Helper()
	running := map[string]bool{}
	for _, s := range g.ps() {
		running[s.Box] = true
	}
	for _, id := range strings.Fields(g.must(order{List: stateFolder + "/boxes"})) {
		if !running[id] {
			g.t.Errorf("the intent of box %s is left; %v run", id, running)
		}
	}
}
