package drivertest

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
)

func failures() []test {
	return []test{
		{"a closure that was changed is refused, with what was", testTampered},
		{"what was prepared needs no packing to start", testPrepared},
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

// packings notes how a closure was packed.
type packings struct {
	driver.Files
	t    *testing.T
	keys map[string]bool
}

func (p *packings) Pack(ctx context.Context, way store.Packing) (store.Packed, error) {
	key, err := way.Key()
	if err != nil {
		p.t.Error(err)
	}
	p.keys[key] = true
	return p.Files.Pack(ctx, way)
}

// testPrepared prepares a box that has no folder, and then starts one that is packed in no other way.
func testPrepared(t *testing.T, s *suite) {
	p, ok := s.driver.(driver.Preparer)
	if !ok {
		t.Skip("this kind of box uses the closure as a folder")
	}
	r := s.room(t)
	prepared, started := &packings{r.spec.Files, t, map[string]bool{}}, &packings{r.spec.Files, t, map[string]bool{}}
	spec := r.spec
	spec.ID, spec.Dir = "prepared", filepath.Join(r.spec.Dir, "none")
	spec.Socket, spec.Files = filepath.Join(spec.Dir, "wire.sock"), prepared
	if err := p.Prepare(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	r.checkEmpty()
	r.spec.Files = started
	r.start()
	if len(started.keys) == 0 || !maps.Equal(started.keys, prepared.keys) {
		t.Errorf("it was packed as %v, and started from %v", prepared.keys, started.keys)
	}
	spec.Files = s.workshop.tampered(t)
	var tampered *store.TamperedError
	if err := p.Prepare(t.Context(), spec); !errors.As(err, &tampered) || !strings.Contains(err.Error(), DataPath) {
		t.Errorf("of a closure that was changed it says %v", err)
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
