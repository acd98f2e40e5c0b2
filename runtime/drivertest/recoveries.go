package drivertest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightline/runtime/driver"
)

func recoveries() []test {
	return []test{
		{"a box outlives its supervisor, and is adopted", testAdopt},
		{"a box prints on without a supervisor, and the next one reads it", testLogOverGap},
		{"a box that ended without a supervisor is gone", testEndedMeanwhile},
		{"a box that was never started is gone", testNeverStarted},
		{"a supervisor killed while starting leaves a whole box or none", testKilledWhileStarting},
	}
}

// recover recovers the box of a room as a supervisor that comes anew does.
func (r *room) recover() (driver.Box, error) {
	r.t.Helper()
	r.listen()
	box, err := r.New().Recover(r.t.Context(), r.spec)
	if err == nil {
		r.owns(box)
	}
	return box, err
}

func testAdopt(t *testing.T, s *suite) {
	r := s.room(t)
	first := r.supervisor()
	first.says("starting")
	first.says("started")
	name := first.says("hello")
	first.kill()
	box, err := r.recover()
	if err != nil {
		t.Fatal(err)
	}
	k := r.hello()
	if k.name != name {
		t.Errorf("it is another run of the stage: %s, then %s", name, k.name)
	}
	k.ask("print adopted")
	r.log.await(t, "adopted", s.Patience)
	if sampler, ok := box.(driver.Sampler); ok {
		if usage, err := sampler.Sample(t.Context()); err != nil || usage.Memory <= 0 {
			t.Errorf("measured %v (%v)", usage, err)
		}
	}
	_ = r.refuses("exists")
	if err := box.Stop(t.Context(), s.Patience); err != nil {
		t.Fatal(err)
	}
	exit := r.ended(box)
	if exit.Code != stoppedCode && (exit.Code != -1 || s.TellsExit) || exit.Reason != "" {
		t.Errorf("exit is %q", exit)
	}
	if _, err := r.recover(); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovering what has ended: %v", err)
	}
}

// printed is how many lines a box prints while nobody reads: more than a pipe takes by default.
const printed = 2000

func testLogOverGap(t *testing.T, s *suite) {
	r := s.room(t)
	first := r.supervisor("gap " + strconv.Itoa(printed))
	first.says("starting")
	first.says("started")
	name := first.says("hello")
	first.says("ok")
	first.kill()
	if _, err := r.recover(); err != nil {
		t.Fatal(err)
	}
	if k := r.hello(); k.name != name {
		t.Errorf("it is another run of the stage: %s, then %s", name, k.name)
	}
	r.log.await(t, fmt.Sprintf(gapLine, printed-1), s.Patience)
	log := r.log.String()
	for i := range printed {
		if line := fmt.Sprintf(gapLine, i); strings.Count(log, line+"\n") != 1 {
			t.Fatalf("%q is there %d times", line, strings.Count(log, line+"\n"))
		}
	}
}

// gapLine is what the stage prints between its wires.
const gapLine = "nobody reads this line before the next supervisor: %d"

func testEndedMeanwhile(t *testing.T, s *suite) {
	r := s.room(t)
	first := r.supervisor()
	first.says("starting")
	first.says("started")
	name := first.says("hello")
	first.kill()
	r.listen()
	box, err := s.New().Recover(t.Context(), r.spec) // only to tell it to end
	if err != nil {
		t.Fatal(err)
	}
	second := r.hello()
	if second.name != name {
		t.Error("it is another run of the stage")
	}
	second.tell("exit 0")
	r.ended(box)
	if _, err := r.recover(); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
}

func testNeverStarted(t *testing.T, s *suite) {
	r := s.room(t)
	if _, err := r.recover(); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
}

// killsWhileStarting is in how many places of a start the supervisor is killed.
const killsWhileStarting = 12

func testKilledWhileStarting(t *testing.T, s *suite) {
	r := s.room(t)
	first := r.supervisor()
	first.says("starting")
	begin := time.Now()
	first.says("started")
	whole := time.Since(begin)
	first.kill()
	box, err := r.recover()
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	adopted := 0
	for i := range killsWhileStarting {
		if s.killWhileStarting(t, whole*time.Duration(i)/(killsWhileStarting-2)) {
			adopted++
		}
	}
	t.Logf("%d of %d were adopted, a start took %v", adopted, killsWhileStarting, whole)
}

// killWhileStarting kills a supervisor some time after it began to start a box, and says whether
// the box is there.
func (s *suite) killWhileStarting(t *testing.T, after time.Duration) bool {
	t.Helper()
	r := s.room(t)
	first := r.supervisor()
	first.says("starting")
	time.Sleep(after) // not for an event: where in the start it falls is to be anywhere
	first.kill()
	box, err := r.recover()
	if errors.Is(err, driver.ErrGone) {
		r.checkEmpty()
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	r.hello().ask("ping")
	if err := box.Stop(t.Context(), s.Patience); err != nil {
		t.Fatal(err)
	}
	r.ended(box)
	r.checkEmpty()
	return true
}
