package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/runtime/supervisor"
)

// flow waits for n more results.
func (d *device) flow(s *site, n int) {
	d.t.Helper()
	before := len(s.results())
	d.await("results flow", func() bool { return len(s.results()) >= before+n })
}

func TestAPipelineInProcessBoxesOutlivesItsSupervisorAndItsStages(t *testing.T) {
	s := newSite(t)
	d := newDevice(t, s, "")
	d.run("front.yaml")
	d.up()
	d.flow(s, 10)
	answersItsOperator(t, d, s)
	killedSupervisor(t, d, s)
	bootsWithoutANetwork(t, d, s)
	killedStages(t, d, s)
	d.stop()
	s.check(t)
}

func answersItsOperator(t *testing.T, d *device, s *site) {
	t.Helper()
	before := d.boxes()
	d.must("restart", "scene")
	d.await("the stage has another box", func() bool { return d.boxes()["scene"] != before["scene"] })
	d.up()
	d.flow(s, 2)
	d.must("stop", "scene")
	if st := d.states()["scene"]; st.Phase != supervisor.Idle || st.Restarts != 0 {
		t.Errorf("a stage that was stopped is %+v", st)
	}
	d.must("start", "scene")
	d.up()
	d.flow(s, 2)
	after := d.boxes()
	if after["gate"] != before["gate"] || after["cloud"] != before["cloud"] {
		t.Errorf("other stages were touched: %v, before %v", after, before)
	}
	if out := d.must("logs", "gate"); !strings.Contains(out, "source online") {
		t.Errorf("the log of gate is\n%s", out)
	}
	if out, err := d.do("restart", "nobody"); err == nil || !strings.Contains(out, "nobody") {
		t.Errorf("restart of no stage: %v, %s", err, out)
	}
	if out := d.must("audit", "verify"); !strings.Contains(out, "the chain holds") {
		t.Errorf("audit verify: %s", out)
	}
	ids := d.audit(supervisor.AcceptedPlan)
	if len(ids) != 1 || len(d.audit("grant")) != 2 {
		t.Errorf("%d plans and %d grants in the audit log", len(ids), len(d.audit("grant")))
	}
}

// killedSupervisor kills the supervisor, and starts it again without the pipeline file.
func killedSupervisor(t *testing.T, d *device, s *site) {
	t.Helper()
	if err := os.Rename(d.path("front.yaml"), d.path("away.yaml")); err != nil {
		t.Fatal(err)
	}
	boxes, first := d.boxes(), len(s.results())
	for range 2 {
		d.kill()
		began := time.Now()
		d.run()
		d.await("frames that were taken after that flow", func() bool {
			all := s.results()
			return len(all) > 0 && all[len(all)-1].Captured.After(began)
		})
		t.Logf("frames flow %s after the supervisor's return", time.Since(began).Round(time.Millisecond))
		d.up()
		sameBoxes(t, d, boxes)
	}
	d.flow(s, 5)
	gapless(t, s.results()[first:])
	if err := os.Rename(d.path("away.yaml"), d.path("front.yaml")); err != nil {
		t.Fatal(err)
	}
}

// sameBoxes checks that the boxes are those of before, and were never started again.
func sameBoxes(t *testing.T, d *device, before map[string]string) {
	t.Helper()
	if after := d.boxes(); !maps.Equal(after, before) {
		t.Errorf("the boxes are %v, before %v", after, before)
	}
	for stage, st := range d.states() {
		if st.Restarts != 0 || st.Last != nil && st.Last.Reason != "asked" {
			t.Errorf("%s: %d restarts, last end %+v", stage, st.Restarts, st.Last)
		}
	}
}

// gapless checks that no result is missing among those of one run of capture and classify: the number of
// each frame follows on that of the one before and what was dropped in between.
func gapless(t *testing.T, results []pipeline.Result) {
	t.Helper()
	slices.SortFunc(results, func(a, b pipeline.Result) int { return int(a.Sequence) - int(b.Sequence) })
	missing := 0
	for i := 1; i < len(results); i++ {
		a, b := results[i-1], results[i]
		if gap := int(b.Sequence) - int(a.Sequence) - 1; gap != int(b.Dropped) {
			missing++
			t.Errorf("picture %d came after picture %d, with %d dropped", b.Sequence, a.Sequence, b.Dropped)
		}
	}
	t.Logf("%d results, %d unexplained gaps", len(results), missing)
}

// bootsWithoutANetwork starts the supervisor again with neither camera nor broker nor file there.
func bootsWithoutANetwork(t *testing.T, d *device, s *site) {
	t.Helper()
	boxes := d.boxes()
	d.kill()
	s.cut()
	s.killBroker()
	d.run()
	d.up()
	sameBoxes(t, d, boxes)
	s.killBroker = startMosquitto(t, s.brokerAt)
	s.film(t)
	d.flow(s, 5)
	sameBoxes(t, d, boxes)
}

// killedStages kills one stage after the other.
func killedStages(t *testing.T, d *device, s *site) {
	t.Helper()
	for _, stage := range []string{"gate", "scene", "cloud"} {
		before := d.boxes()
		if err := syscall.Kill(d.pid(stage), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		d.await("the stage has another box", func() bool { id := d.boxes()[stage]; return id != "" && id != before[stage] })
		d.up()
		d.flow(s, 2)
		after := d.states()
		if st := after[stage]; st.Restarts != 1 || st.Last == nil || st.Last.Reason != "killed" || st.Last.Box != before[stage] {
			t.Errorf("%s is %+v, its last end %+v", stage, st, st.Last)
		}
		for other, id := range before {
			if other != stage && after[other].Box != id {
				t.Errorf("%s was touched by the end of %s", other, stage)
			}
		}
	}
}
