package drivertest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sightline/runtime/closure/store"
)

func failures() []test {
	return []test{
		{"a closure that was changed is refused, with what was", testTampered},
		{"a program that isn't there leaves nothing", testNoProgram},
		{"an ID is used once", testSameID},
		{"what is no ID is refused", testBadID},
		{"a start that is given up leaves nothing", testStartGivenUp},
	}
}

// refuses checks that Start returns an error, in which text is.
func (r *room) refuses(text string) error {
	r.t.Helper()
	box, err := r.driver.Start(r.t.Context(), r.spec)
	if err == nil {
		r.owns(box)
		r.t.Fatal("the box starts")
	}
	if !strings.Contains(err.Error(), text) {
		r.t.Errorf("error %q doesn't say %q", err, text)
	}
	return err
}

func testTampered(t *testing.T, s *suite) {
	r := s.room(t)
	r.spec.Files = s.workshop.tampered(t)
	var tampered *store.TamperedError
	if err := r.refuses(DataPath); !errors.As(err, &tampered) {
		t.Errorf("error %v is not the store's", err)
	}
}

func testNoProgram(t *testing.T, s *suite) {
	r := s.room(t)
	r.spec.Program = []string{"/none"}
	box, err := s.driver.Start(t.Context(), r.spec)
	if err == nil { // in a guest it is known late
		r.owns(box)
		if exit := r.ended(box); exit.Code == 0 {
			t.Errorf("exit is %q", exit)
		}
		return
	}
	if !strings.Contains(err.Error(), "/none") {
		t.Errorf("error %q doesn't say which", err)
	}
}

func testSameID(t *testing.T, s *suite) {
	r := s.room(t)
	_, k := r.start()
	_ = r.refuses("exists")
	k.ask("ping")
}

func testBadID(t *testing.T, s *suite) {
	for _, id := range []string{"", "../up", "Upper", "a b", strings.Repeat("x", 64)} {
		r := s.room(t)
		r.spec.ID = id
		_ = r.refuses("ID")
	}
}

func testStartGivenUp(t *testing.T, s *suite) {
	r := s.room(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if box, err := s.driver.Start(ctx, r.spec); err == nil {
		r.owns(box)
		t.Error("the box starts")
	}
}
