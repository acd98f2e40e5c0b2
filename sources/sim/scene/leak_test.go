//go:build matprofile

package scene

import (
	"testing"
	"time"

	"gocv.io/x/gocv"
)

// Built with the tag matprofile, gocv counts the pictures that are open.
func TestNoPictureIsLeftOpen(t *testing.T) {
	before := gocv.MatProfile.Count()
	s, err := New(Options{Seed: 1, Width: 128, Height: 72})
	if err != nil {
		t.Fatal(err)
	}
	m := gocv.NewMat()
	made := gocv.MatProfile.Count()
	for i := range 100 {
		if err := s.Render(time.Duration(i)*time.Second, &m); err != nil {
			t.Fatal(err)
		}
	}
	if now := gocv.MatProfile.Count(); now != made {
		t.Errorf("%d pictures are open after rendering, %d before", now, made)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if now := gocv.MatProfile.Count(); now != before {
		t.Errorf("%d pictures are open at the end, %d at the beginning", now, before)
	}
}
