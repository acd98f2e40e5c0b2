package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"sightline/models/gate"
	"sightline/runtime/supervisor"
)

func TestAChangedStageIsReplacedAloneAndABadOneIsPutBack(t *testing.T) {
	s := newSite(t)
	d := newDevice(t, s, "")
	card := regexp.MustCompile("(?m)^.*sha256:.*$").ReplaceAll(gate.Card(), nil)
	bad := bytes.ReplaceAll(gate.Model(), []byte("Conv"), []byte("Conx")) // only ONNX Runtime sees it
	model(t, d, "own", gate.Model(), gate.Card())
	model(t, d, "cut", gate.Model()[:len(gate.Model())/2], card)
	model(t, d, "swapped", bad, gate.Card())
	model(t, d, "bad", bad, card)
	d.edit("model: gate", "model: own.onnx")
	d.run("front.yaml")
	d.up()
	d.flow(s, 5)

	before := d.boxes()
	d.edit("threshold: 0.5", "threshold: 0.6")
	d.must("up", "front.yaml")
	after := d.boxes()
	if after["scene"] == before["scene"] || after["gate"] != before["gate"] || after["cloud"] != before["cloud"] {
		t.Errorf("a changed threshold: boxes %v, before %v", after, before)
	}
	if n := len(d.audit(supervisor.HeldBox)); n != 1 {
		t.Errorf("%d stages were replaced", n)
	}
	d.flow(s, 2)

	d.edit("model: own.onnx", "model: cut.onnx")
	if out, err := d.do("up", "front.yaml"); err == nil || !strings.Contains(out, "cut off or damaged") {
		t.Errorf("a damaged model: %v\n%s", err, out)
	}
	d.edit("model: cut.onnx", "model: swapped.onnx")
	if out, err := d.do("up", "front.yaml"); err == nil || !strings.Contains(out, "it is not the model that the card was written for") {
		t.Errorf("another model than the card's: %v\n%s", err, out)
	}
	d.edit("model: swapped.onnx", "model: bad.onnx")
	refusedUntilForced(t, d, s)
	d.stop()
}

// refusedUntilForced has a model tried that does not hold.
func refusedUntilForced(t *testing.T, d *device, s *site) {
	t.Helper()
	before := d.boxes()
	for _, try := range []struct {
		args []string
		says supervisor.Action
	}{
		{[]string{"up", "front.yaml"}, supervisor.PutBack},
		{[]string{"up", "front.yaml"}, supervisor.Refused},
		{[]string{"up", "--force", "front.yaml"}, supervisor.PutBack},
	} {
		out, err := d.do(try.args...)
		if err == nil || !strings.Contains(out, string(try.says)) || !strings.Contains(out, "not as the file says: scene") {
			t.Errorf("%v: %v\n%s", try.args, err, out)
		}
		d.up()
		d.flow(s, 2)
	}
	after := d.boxes()
	if after["gate"] != before["gate"] || after["cloud"] != before["cloud"] {
		t.Errorf("other stages were touched: boxes %v, before %v", after, before)
	}
	if back, refused := len(d.audit(supervisor.RolledBack)), len(d.audit(supervisor.RefusedVersion)); back != 2 || refused != 1 {
		t.Errorf("put back %d times, refused %d times", back, refused)
	}
}

// model puts a model with its card beside the pipeline file.
func model(t *testing.T, d *device, name string, content, card []byte) {
	t.Helper()
	for path, data := range map[string][]byte{name + ".onnx": content, name + ".yaml": card} {
		if err := os.WriteFile(d.path(path), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
