package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sightline/models/gate"
	"sightline/pipeline"
	"sightline/runtime/supervisor"
)

// reloaded is a device whose pipeline file is changed while it runs.
type reloaded struct {
	*device
	site   *site
	signal bool // the supervisor is told, rather than left to see it
	edits  int
}

func TestAChangedFileIsTakenUpWhileFramesFlow(t *testing.T) {
	for box, signal := range map[string]bool{"process": false, "inline": true} {
		t.Run(box, func(t *testing.T) {
			s := newSite(t)
			r := &reloaded{device: newDevice(t, s, "runtime: {default: "+box+"}\n"), site: s, signal: signal}
			model(t, r.device, "own", gate.Model(), cardOfAny())
			r.edit("model: gate", "model: own.onnx")
			r.edit(`listen: "off"`, "listen: "+freeAddress(t))
			r.mount()
			if signal {
				r.run("--reload", "signal", "front.yaml")
			} else {
				r.run("front.yaml")
			}
			r.up()
			r.flow(s, 3)
			r.badFile()
			first := len(s.results())
			r.replacedAlone("threshold: 0.5", "threshold: 0.4", "scene")
			r.replacedAlone("timeout: 5s", "timeout: 6s", "cloud")
			r.otherModel()
			r.badModel()
			r.replacedAlone("stall: 10s", "stall: 11s", "gate")
			r.stop()
			ordered(t, s.results()[first:])
		})
	}
}

// cardOfAny is the card of the gate's model, for whatever lies beside it.
func cardOfAny() []byte {
	return regexp.MustCompile("(?m)^.*sha256:.*$").ReplaceAll(gate.Card(), nil)
}

// mount lays the file out as Kubernetes does: a link to what lies in a folder that another link names.
func (r *reloaded) mount() {
	r.t.Helper()
	text, err := os.ReadFile(r.path("front.yaml"))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.Remove(r.path("front.yaml")); err != nil {
		r.t.Fatal(err)
	}
	r.turnOver(string(text))
	if err := os.Symlink("..data/front.yaml", r.path("front.yaml")); err != nil {
		r.t.Fatal(err)
	}
}

// turnOver has ..data lead to a folder with another text, at once.
func (r *reloaded) turnOver(text string) {
	r.t.Helper()
	r.edits++
	folder := fmt.Sprintf("..%d", r.edits)
	for _, err := range []error{
		os.Mkdir(r.path(folder), 0o700),
		os.WriteFile(filepath.Join(r.path(folder), "front.yaml"), []byte(text), 0o400), // nothing here writes it
		os.Symlink(folder, r.path("..new")),
		os.Rename(r.path("..new"), r.path("..data")),
	} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// change replaces a part of the file, and tells the supervisor if it is to be told.
func (r *reloaded) change(old, with string) {
	r.t.Helper()
	text, err := os.ReadFile(r.path("front.yaml"))
	if err != nil || !strings.Contains(string(text), old) {
		r.t.Fatalf("no %q in the file, %v", old, err)
	}
	r.turnOver(strings.Replace(string(text), old, with, 1))
	r.tell()
}

func (r *reloaded) tell() {
	r.t.Helper()
	if !r.signal {
		return
	}
	if err := r.command.Process.Signal(syscall.SIGHUP); err != nil {
		r.t.Fatal(err)
	}
}

// badFile has a file that cannot be used change nothing.
func (r *reloaded) badFile() {
	r.t.Helper()
	before := r.boxes()
	r.change("threshold: 0.5", "treshold: 0.5")
	r.await("the file is refused", func() bool { return strings.Contains(r.must("ps"), "treshold") })
	log := r.log.String()
	place := regexp.MustCompile(`front\.yaml:\d+:\d+: models\.scene\.treshold: .*threshold`)
	if !place.MatchString(log) || !place.MatchString(r.must("ps")) {
		r.t.Errorf("neither the log nor ps says where: %s\n%s", r.must("ps"), tail(log, 2000))
	}
	if !maps.Equal(r.boxes(), before) {
		r.t.Errorf("boxes %v, before %v", r.boxes(), before)
	}
	r.flow(r.site, 2)
	r.change("treshold: 0.5", "threshold: 0.5")
	r.await("the file is what runs", func() bool { return !strings.Contains(r.must("ps"), "note:") })
	if !maps.Equal(r.boxes(), before) {
		r.t.Errorf("as before: boxes %v, before %v", r.boxes(), before)
	}
}

// held is how often a changed version of a stage has held.
func (r *reloaded) held(stage string) int {
	n := 0
	for _, record := range r.audit(supervisor.HeldBox) {
		if record.Fields["stage"] == stage {
			n++
		}
	}
	return n
}

// replacedAlone changes one stage.
func (r *reloaded) replacedAlone(old, with, stage string) {
	r.t.Helper()
	before, held := r.boxes(), r.held(stage)
	r.change(old, with)
	r.await("the changed stage holds", func() bool { return r.held(stage) > held })
	r.up()
	r.onlyOther(before, stage)
	r.flow(r.site, 2)
}

// onlyOther checks that of all boxes only that of one stage is another one.
func (r *reloaded) onlyOther(before map[string]string, stage string) {
	r.t.Helper()
	after := r.boxes()
	for name, id := range after {
		if (id != before[name]) != (name == stage) {
			r.t.Errorf("%s was changed: boxes %v, before %v", stage, after, before)
		}
	}
}

// digest is that of the model that made the newest result.
func (r *reloaded) digest() string {
	all := r.site.results()
	return all[len(all)-1].Model.Digest
}

// otherModel puts another model in the place of the one that runs; the file of the pipeline stays.
func (r *reloaded) otherModel() {
	r.t.Helper()
	before, digest := r.boxes(), r.digest()
	model(r.t, r.device, "own", append(slices.Clone(gate.Model()), "\x32\x05other"...), cardOfAny())
	r.tell()
	r.await("the other model answers", func() bool { return r.digest() != digest })
	r.up()
	r.onlyOther(before, "scene")
	r.await("it has held", func() bool { return r.held("scene") == 2 })
}

// badModel puts models there that cannot be used: one that is seen at once, and one that only ONNX
// Runtime refuses.
func (r *reloaded) badModel() {
	r.t.Helper()
	before, digest := r.boxes(), r.digest()
	model(r.t, r.device, "own", gate.Model()[:len(gate.Model())/2], cardOfAny())
	r.tell()
	r.await("it is refused", func() bool { return strings.Contains(r.must("ps"), "cut off or damaged") })
	if !maps.Equal(r.boxes(), before) {
		r.t.Errorf("boxes %v, before %v", r.boxes(), before)
	}
	model(r.t, r.device, "own", bytes.ReplaceAll(gate.Model(), []byte("Conv"), []byte("Conx")), cardOfAny())
	r.tell()
	r.await("it is put back", func() bool { return len(r.audit(supervisor.RolledBack)) == 1 })
	r.await("ps says so", func() bool { return strings.Contains(r.must("ps"), "note: front.yaml on the disk is not what runs") })
	r.up()
	r.onlyOther(before, "scene")
	r.flow(r.site, 2)
	if r.digest() != digest {
		r.t.Errorf("the model is %s, not the one before, %s", r.digest(), digest)
	}
}

// ordered checks that the results of each source are in the order of its frames, over all that was
// replaced, and that each that is missing was counted.
func ordered(t *testing.T, results []pipeline.Result) {
	t.Helper()
	for i := 1; i < len(results); i++ {
		if a, b := results[i-1], results[i]; b.Captured.Before(a.Captured) {
			t.Errorf("the result of %s came after that of %s", b.Captured, a.Captured)
		}
	}
	runs := [][]pipeline.Result{}
	for i, r := range results {
		if i == 0 || r.Sequence < results[i-1].Sequence {
			runs = append(runs, nil) // another stage captures
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], r)
	}
	if len(runs) > 6 {
		t.Errorf("stages were replaced or began anew %d times", len(runs)-1)
	}
	for _, run := range runs {
		gapless(t, run)
	}
}
