package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sightline/sources/sim/clock"
	"sightline/sources/sim/scene"
)

// small is an order of five little pictures.
func small(t *testing.T) order {
	return order{
		scene: scene.Options{Seed: 5, Width: 96, Height: 64}, every: time.Second, frames: 5, clock: true,
		truth: filepath.Join(t.TempDir(), "truth.csv"),
	}
}

func TestPicturesAndTruthGoTogether(t *testing.T) {
	o := small(t)
	var out bytes.Buffer
	if err := run(o, &out); err != nil {
		t.Fatal(err)
	}
	if want := 5 * 96 * 64 * 3; out.Len() != want {
		t.Fatalf("%d bytes of pictures, want %d", out.Len(), want)
	}
	truth, err := os.ReadFile(o.truth)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(truth)), "\n")
	line := regexp.MustCompile(`^(` + strings.Join(scene.Classes(), "|") + `),[01],[01]\.\d{3}$`)
	if len(lines) != 5 {
		t.Errorf("%d lines of truth, want 5", len(lines))
	}
	for _, l := range lines {
		if !line.MatchString(l) {
			t.Errorf("truth %q", l)
		}
	}
}

func TestEachPictureHasAClockOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	if err := run(small(t), &out); err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for data := out.Bytes(); len(data) > 0; data = data[96*64*3:] {
		v, ok := clock.Read(data[:96*64*3], 96, 64)
		if !ok || seen[v] {
			t.Errorf("clock %d, %v", v, ok)
		}
		seen[v] = true
	}
}

func TestOneOrderGivesTheSameBytes(t *testing.T) {
	var first, second bytes.Buffer
	if err := run(small(t), &first); err != nil {
		t.Fatal(err)
	}
	if err := run(small(t), &second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the pictures differ")
	}
}

func TestTheOrderMustBePossible(t *testing.T) {
	noFile, noSize := small(t), small(t)
	noFile.truth = filepath.Join(t.TempDir(), "no", "such", "folder")
	noSize.scene.Width = 1
	for name, o := range map[string]order{"no folder for the truth": noFile, "no such size": noSize} {
		if err := run(o, &bytes.Buffer{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
