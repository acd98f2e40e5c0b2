package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/durable"
)

// fill leaves no room on the disk of a folder.
func fill(t *testing.T, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	return ballast
}

func TestOnAFullDiskNothingIsStartedWithoutItsIntentAndTheOthersRunOn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk takes root")
	}
	p := newPlace(t)
	if err := unix.Mount("tmpfs", p.dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(p.dir, unix.MNT_DETACH) })
	s := p.open(Options{})
	apply(t, s, plan(p.stage("other", "", nil), p.stage("gate", "", nil)), ApplyOptions{})
	box := state(t, s, "other").Box
	ballast := fill(t, p.dir)
	gate := p.actor("gate")
	err := s.Restart(t.Context(), "gate")
	if err == nil || !strings.Contains(err.Error(), "write the intent to start box") || !strings.Contains(err.Error(), "is full") {
		t.Errorf("said: %v", err)
	}
	if st := state(t, s, "gate"); gate.count() != 1 || st.Last.Reason != "start_failed" || !strings.Contains(st.Problem, "is full") {
		t.Errorf("%+v %+v", st, st.Last)
	}
	if st := state(t, s, "other"); st.Box != box || st.Restarts != 0 || st.Phase != Running {
		t.Errorf("%+v", st)
	}
	if entries, err := os.ReadDir(filepath.Join(p.dir, boxesDir)); err != nil || len(entries) != 1 {
		t.Errorf("%v (%v)", entries, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	gateKeeper, err := s.keeper("gate")
	if err != nil {
		t.Fatal(err)
	}
	if err := gateKeeper.await(t.Context(), func() bool { return gateKeeper.cur != nil }); err != nil {
		t.Fatal(err)
	}
	if st := state(t, s, "gate"); st.Phase != Running || st.Problem != "" {
		t.Errorf("%+v", st)
	}
}

func FuzzParseRecord(f *testing.F) {
	dir := f.TempDir()
	b := boxes{dir}
	r := newRecord("front_gate", version{Driver: "process", Program: []string{"/stage"}})
	if err := b.write(r); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(b.folder(r.ID), recordFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(strings.Replace(string(data), r.ID, "../../etc", 1)))
	f.Add([]byte(strings.Replace(string(data), `"version": 1`, `"version": 2`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err == nil && (filepath.Base(r.ID) != r.ID || strings.HasPrefix(r.ID, ".") || !name.MatchString(r.Stage)) {
			t.Errorf("taken: %+v", r)
		}
	})
}

func TestIDsAreShortAndFitForSockets(t *testing.T) {
	for _, stage := range []string{"a", "front_gate", strings.Repeat("x", 63), "a__________________b", "0-"} {
		id := newRecord(stage, version{}).ID
		if !boxID.MatchString(id) || len(id) > idName+1+idRandom || strings.HasPrefix(id, "-") {
			t.Errorf("%q of %q", id, stage)
		}
		if path := strings.Repeat("d", longest) + "/" + boxesDir + "/" + id + "/" + strings.Repeat("s", maxSocket); len(path) > maxAddress {
			t.Errorf("%d bytes", len(path))
		}
	}
}

func TestOfAKeptPlanOnlyAWholeOneIsTaken(t *testing.T) {
	p := newPlace(t)
	s := p.open(Options{})
	if a, err := s.Accepted(); a != nil || err != nil {
		t.Errorf("%+v (%v)", a, err)
	}
	at := filepath.Join(p.dir, planFile)
	for _, text := range []string{"", "{", `{"version":7}`, `{"verzion":1}`} {
		if err := durable.Write(at, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Accepted(); err == nil || !strings.Contains(err.Error(), "last accepted plan") {
			t.Errorf("%q: %+v", text, a)
		}
	}
	apply(t, s, plan(p.stage("gate", "", nil)), ApplyOptions{})
	a, err := s.Accepted()
	if err != nil || a.Name != "gate" || time.Since(a.At) > time.Minute || string(a.Document) != `{"text":"version: 1"}` {
		t.Errorf("%+v (%v)", a, err)
	}
	if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v (%v)", info.Mode(), err)
	}
}
