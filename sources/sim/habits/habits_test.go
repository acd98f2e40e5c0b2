package habits_test

import (
	"testing"

	"sightline/sources/sim/habits"
)

func TestCorpusIsWellFormed(t *testing.T) {
	all, err := habits.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		e := h.Expect
		if e.Pictures == 0 && e.Refused == "" {
			t.Errorf("%s expects nothing", h.Name)
		}
		if e.Permanent && e.Refused == "" {
			t.Errorf("%s: permanent without refused", h.Name)
		}
		if _, err := habits.Named(h.Name); err != nil {
			t.Error(err)
		}
	}
	if _, err := habits.Named("none"); err == nil {
		t.Error("there is a habit named none")
	}
}

func TestHabitsThatMakeNoSense(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": "about: x\nbogus: 1\n", "no about": "media: {silent: true}\n", "bad choice": "about: x\nmedia: {markers: some}\n",
		"not yaml": "about: [",
	} {
		if _, err := habits.Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
