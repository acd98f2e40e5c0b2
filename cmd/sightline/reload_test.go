package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsReadOnceItIsLeftAlone(t *testing.T) {
	c := change{taken: "a"}
	for i, step := range []struct {
		now           string
		settled, last bool
	}{
		{"a", false, false}, // as it was
		{"b", false, false}, // somebody writes
		{"c", false, false}, // and writes
		{"c", true, false},  // has it ended?
		{"c", false, false}, // it could not be used
		{"c", true, true},   // nor now: it is told of
		{"d", false, false},
		{"a", false, false}, // it was put back
		{"a", false, false},
	} {
		if settled, last := c.look(step.now); settled != step.settled || last && !step.last {
			t.Errorf("look %d at %q: settled %t, last %t", i, step.now, settled, last)
		}
	}
}

func TestAMarkSeesWhatEditorsAndLinksDo(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) error { return os.WriteFile(at(name), []byte(text), 0o600) }
	before := markOf(at("file"))
	if before != "none" {
		t.Errorf("no file has the mark %q", before)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"written", func() error { return put("file", "one") }},
		{"replaced by one as large", func() error { return errors.Join(put("new", "two"), os.Rename(at("new"), at("file"))) }},
		{"made a link", func() error {
			return errors.Join(put("third", "three"), os.Remove(at("file")), os.Symlink("third", at("file")))
		}},
		{"its target replaced", func() error { return errors.Join(put("new", "other"), os.Rename(at("new"), at("third"))) }},
		{"its rights changed", func() error { return os.Chmod(at("third"), 0o400) }},
		{"gone", func() error { return os.Remove(at("file")) }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if now := markOf(at("file")); now == before {
			t.Errorf("%s: the mark is still %q", step.what, now)
		} else {
			before = now
		}
		if markOf(at("file")) != before {
			t.Errorf("%s: the mark changes by itself", step.what)
		}
	}
}

func TestHowTheFileOnTheDiskStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var f onFile
	if f.now().Name != "" {
		t.Error("no file is followed, and there is one")
	}
	f.follow(path)
	write("one")
	f.runs("one", "")
	is := func(problem string) {
		t.Helper()
		if now := f.now(); now.Problem != problem || now.Runs != (problem == "") || now.Since.IsZero() {
			t.Errorf("it is %+v, not %q", now, problem)
		}
	}
	is("")
	write("two, which nobody has read")
	is("it does not say what was taken up last")
	f.refuse("front.yaml:1:1: is wrong")
	is("front.yaml:1:1: is wrong")
	f.runs("another file's, by sightline up", "")
	is("front.yaml:1:1: is wrong")
	write("one")
	f.runs("one", "scene put back: it did not hold")
	is("scene put back: it did not hold")
	f.refuse("gone")
	f.asBefore()
	is("scene put back: it did not hold")
}
