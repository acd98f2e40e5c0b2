package main

import (
	"errors"
	"testing"
	"time"

	"sightline/pipeline"
)

func TestWhatTryingAgainWillNotMendIsTriedSlowly(t *testing.T) {
	wrong := pipeline.Permanent(errors.New("the camera refuses user and password"))
	if wait := again(wrong, 1); wait < 45*time.Second {
		t.Errorf("tried again after %s", wait)
	}
	if wait := again(errors.New("the camera closed the connection"), 1); wait > time.Second {
		t.Errorf("what may mend by itself is tried again after %s", wait)
	}
	for _, err := range []error{wrong, errors.New("no")} {
		if wait := again(err, 1000); wait > 5*time.Minute {
			t.Errorf("%v: tried again after %s, beyond the cap", err, wait)
		}
	}
}
