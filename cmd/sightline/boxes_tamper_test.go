package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/supervisor"
	"sightline/runtime/supervisor/restart"
)

func TestAStageWhoseFilesWereChangedIsRefusedByNameAndTheOthersRun(t *testing.T) {
	s := newSite(t)
	d := newDevice(t, s, "")
	d.run("front.yaml")
	d.up()
	d.flow(s, 2)
	d.stop()
	digest := tamper(t, d, "sightline-publish")
	d.run()
	d.await("the stage is refused", func() bool {
		if _, err := d.do("ps"); err != nil {
			return false
		}
		st := d.states()["cloud"]
		return st.Last != nil && st.Last.Reason == string(restart.Tampered)
	})
	d.await("the others run", func() bool {
		all := d.states()
		return all["gate"].Phase == supervisor.Running && all["scene"].Phase == supervisor.Running
	})
	st := d.states()["cloud"]
	if st.Box != "" || !strings.Contains(st.Last.Text, "/stage") || !strings.Contains(st.Last.Text, digest[:12]) {
		t.Errorf("the stage is %+v, its last end %+v", st, st.Last)
	}
	if out := d.must("ps"); !strings.Contains(out, "/stage") {
		t.Errorf("ps does not name the file that was changed:\n%s", out)
	}
	d.must("down")
	if err := <-d.ended; err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
	d.command = nil
	d.clean()
}

// tamper changes one byte of a stage's program where its box would see it.
func tamper(t *testing.T, d *device, program string) string {
	t.Helper()
	want, err := os.ReadFile(filepath.Join(d.programs, program))
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob(d.path("state/closures/trees/*/stage"))
	for _, at := range all {
		data, err := os.ReadFile(at)
		if err != nil || !bytes.Equal(data, want) {
			continue
		}
		data[len(data)/2] ^= 1
		if err := errors.Join(os.Chmod(at, 0o600), os.WriteFile(at, data, 0o600), os.Chmod(at, 0o555)); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(filepath.Dir(at))
	}
	t.Fatalf("%s is in none of %q", program, all)
	return ""
}
