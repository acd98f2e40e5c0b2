package drivertest

import (
	"errors"
	"fmt"
	"testing"

	"sightline/runtime/driver"
)

func limits() []test {
	return []test{
		{"a box that eats too much memory dies alone, and says why", testMemory},
		{"a box has no more processes than it may", testPIDs},
		{"a box gets no more of the processors than it may", testCPUs},
		{"a limit that makes no sense is refused", testSenseless},
	}
}

// limited starts a box with limits; where the driver refuses it, it must say why, and beforehand.
func (r *room) limited(limits driver.Limits) (driver.Box, *talk) {
	r.t.Helper()
	r.spec.Limits = limits
	box, err := r.driver.Start(r.t.Context(), r.spec)
	var refused *driver.RefusedError
	if errors.As(err, &refused) {
		r.checkRefusal(refused)
		r.t.Skipf("refused, and rightly said so: %v", refused)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.owns(box)
	return box, r.hello()
}

func (r *room) checkRefusal(refused *driver.RefusedError) {
	r.t.Helper()
	if refused.What == "" || refused.Why == "" || refused.Instead == "" {
		r.t.Errorf("a refusal that doesn't say all: %#v", refused)
	}
	if checker, ok := r.driver.(driver.Checker); ok {
		if err := checker.Check(r.spec); err == nil || err.Error() != refused.Error() {
			r.t.Errorf("start refuses with %q, check with %v", refused, err)
		}
	}
}

func testMemory(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.limited(driver.Limits{Memory: 128 << 20})
	_, other := s.room(t).start()
	if answer, ok := k.ask("eat %d", 16<<20); !ok {
		t.Fatalf("eats within its limit: %s", answer)
	}
	k.tell("eat %d", 512<<20)
	if exit := r.ended(box); exit.Reason != "out of memory" {
		t.Errorf("exit is %q", exit)
	}
	other.ask("ping")
}

func testPIDs(t *testing.T, s *suite) {
	const most = 48
	_, k := s.room(t).limited(driver.Limits{PIDs: most})
	answer, ok := k.ask("fork %d", 4*most)
	var started int
	if _, err := fmt.Sscan(answer, &started); !ok || err != nil || started >= most {
		t.Errorf("started %s processes", answer)
	}
	k.ask("ping")
}

func testCPUs(t *testing.T, s *suite) {
	const most = 0.2
	_, k := s.room(t).limited(driver.Limits{CPUs: most})
	answer, _ := k.ask("burn 1000")
	var used, wall int64
	if _, err := fmt.Sscan(answer, &used, &wall); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	if got := float64(used) / float64(wall); got > 2*most { // it may start with a quota unused
		t.Errorf("used %.2f processors with a limit of %g", got, most)
	}
}

func testSenseless(t *testing.T, s *suite) {
	for _, limits := range []driver.Limits{{Memory: -1}, {CPUs: -1}, {PIDs: -1}, {PIDs: 1}, {Memory: 1}} {
		r := s.room(t)
		r.spec.Limits = limits
		var refused *driver.RefusedError
		if err := r.refuses("refuses"); !errors.As(err, &refused) {
			t.Errorf("error %v is no refusal", err)
		} else {
			r.checkRefusal(refused)
		}
	}
}
