package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sightline/runtime/driver"
)

// stoppedCode is the exit status of the suite's stage when it was asked to end.
const stoppedCode = 7

func life() []test {
	return []test{
		{"a box says hello, answers, and tells its exit status", testExit},
		{"what a box prints comes line by line", testLog},
		{"a box that is asked to stop ends by itself", testStop},
		{"a box that doesn't stop is ended by force", testForce},
		{"what a box has started ends with it", testChildren},
		{"stopping can be given up, and the box lives on", testGiveUp},
		{"stopping what has ended is no error", testStopEnded},
		{"a box is measured", testSample},
		{"a box sees only itself, and outlives another", testTwo},
	}
}

func testExit(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	if want := `"first" "second argument"]`; k.args != want {
		t.Errorf("the program has arguments [%s instead of [%s", k.args, want)
	}
	for i := range 3 {
		if answer, _ := k.ask("ping"); answer != fmt.Sprint(i+1) {
			t.Errorf("answer %q to ping %d", answer, i+1)
		}
	}
	k.tell("exit 3")
	if exit := r.ended(box); exit != (driver.Exit{Code: 3}) {
		t.Errorf("exit is %q", exit)
	}
}

func testLog(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	k.ask("print one")
	r.log.await(t, "one", s.Patience)
	r.log.await(t, "to standard error: one", s.Patience)
	long := strings.Repeat("x", 3000)
	k.ask("print %s", long)
	r.log.await(t, long, s.Patience)
	k.ask("print last")
	k.tell("exit 0")
	r.ended(box)
	if !strings.Contains(r.log.String(), "to standard error: last\n") {
		t.Error("what was printed last is not there when the box is done")
	}
}

func testStop(t *testing.T, s *suite) {
	r := s.room(t)
	box, _ := r.start()
	if err := box.Stop(t.Context(), s.Patience); err != nil {
		t.Fatal(err)
	}
	if exit := r.ended(box); exit != (driver.Exit{Code: stoppedCode}) {
		t.Errorf("exit is %q", exit)
	}
	if !strings.Contains(r.log.String(), "stopping\n") {
		t.Errorf("the stage was not asked; it printed %q", r.log)
	}
}

func testForce(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	k.ask("ignore")
	if err := box.Stop(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	exit := r.ended(box)
	if exit.Reason != "killed by force" || exit.Code == stoppedCode {
		t.Errorf("exit is %q", exit)
	}
}

func testChildren(t *testing.T, s *suite) {
	for _, how := range []string{"exit 0", "ignore"} {
		r := s.room(t)
		box, k := r.start()
		if started, ok := k.ask("fork 3"); !ok || started != "3" {
			t.Skipf("a program in this box starts no others: %s", started)
		}
		k.tell("%s", how)
		if how == "ignore" {
			if err := box.Stop(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		r.ended(box)
		r.checkEmpty()
	}
}

func testGiveUp(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	k.ask("ignore")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := box.Stop(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop returned %v", err)
	}
	k.ask("ping")
	select {
	case <-box.Done():
		t.Error("the box has ended")
	default:
	}
}

func testStopEnded(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	k.tell("exit 0")
	r.ended(box)
	for range 2 {
		if err := box.Stop(t.Context(), time.Hour); err != nil {
			t.Error(err)
		}
	}
}

func testSample(t *testing.T, s *suite) {
	r := s.room(t)
	box, k := r.start()
	sampler, ok := box.(driver.Sampler)
	if !ok {
		t.Skip("boxes of this kind are not measured")
	}
	before, err := sampler.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const eaten = 64 << 20
	k.ask("eat %d", eaten)
	k.ask("burn 200")
	after, err := sampler.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after.Memory - before.Memory; grown < eaten/3 || grown > eaten*4 { // a guest may eat what it has already
		t.Errorf("memory went from %d to %d bytes, by eating %d", before.Memory, after.Memory, eaten)
	}
	if after.CPU <= before.CPU {
		t.Errorf("processor time went from %v to %v", before.CPU, after.CPU)
	}
}

func testTwo(t *testing.T, s *suite) {
	r1, r2 := s.room(t), s.room(t)
	box1, k1 := r1.start()
	_, k2 := r2.start()
	if k1.name == k2.name {
		t.Fatal("two boxes are one")
	}
	if seen, ok := k2.ask("processes"); ok && seen != "" {
		t.Errorf("sees processes %s", seen)
	}
	if seen, ok := k2.ask("list %s", r1.spec.Dir); ok {
		t.Errorf("lists the folder of another box: %s", seen)
	}
	if err := box1.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	k2.ask("ping")
}
