package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

func TestATamperedImageIsRefusedByName(t *testing.T) {
	for name, engine := range engines() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, engine(t))
			t.Run("another image under its name", func(t *testing.T) { testOtherImage(t, p) })
			t.Run("a changed file in the engine's storage", func(t *testing.T) { testChangedLayer(t, p) })
			t.Run("what an earlier version made is replaced", func(t *testing.T) { testEarlierPacking(t, p) })
			t.Run("images of closures that are gone are collected", func(t *testing.T) { testCollect(t, p) })
		})
	}
}

// refuses starts a box, which must not go, and returns why.
func (p *place) refuses(t *testing.T, id string) error {
	t.Helper()
	spec, _ := p.in(t).spec(id)
	if err := os.WriteFile(spec.Socket, nil, 0o600); err != nil { // nobody dials it
		t.Fatal(err)
	}
	box, err := p.driver.Start(t.Context(), spec)
	if err == nil {
		_ = box.Stop(t.Context(), 0)
		t.Fatal("the box starts")
	}
	p.checkGone(t, spec)
	return err
}

func (p *place) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.engine.Do(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// image has the image of the place's closure in the engine, and returns its name.
func (p *place) image(t *testing.T) string {
	t.Helper()
	e, err := p.driver.engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name, _, err := e.image(t.Context(), p.files)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func testOtherImage(t *testing.T, p *place) {
	name := p.image(t)
	id := p.do(t, "create", "--name", "evil", name)
	p.do(t, "commit", "--change", "ENV EVIL=1", "evil", name)
	p.do(t, "rm", "evil")
	err := p.refuses(t, "other-image")
	var tampered *TamperedError
	if !errors.As(err, &tampered) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "image rm") {
		t.Errorf("container %s: %v", id, err)
	}
	p.do(t, "image", "rm", name)
	p.in(t).start("after-other-image").ask("ping")
}

func testChangedLayer(t *testing.T, p *place) {
	changed := changeInStorage(t, p)
	err := p.refuses(t, "changed-layer")
	var tampered *TamperedError
	if !errors.As(err, &tampered) || !strings.Contains(err.Error(), closure.ProgramPath) {
		t.Errorf("after %s was changed: %v", changed, err)
	}
	p.do(t, "image", "rm", p.image(t))
}

// changeInStorage changes a byte of the stage's program where the engine keeps its layer.
func changeInStorage(t *testing.T, p *place) string {
	t.Helper()
	p.image(t)
	m, err := p.files.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found string
	storage := filepath.Dir(strings.TrimPrefix(p.engine.Host, "unix://"))
	err = filepath.WalkDir(storage, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != filepath.Base(closure.ProgramPath) {
			return nil //nolint:nilerr // what has gone meanwhile is not it
		}
		if info, err := d.Info(); err == nil && info.Size() == m.Files[0].Size && filepath.Base(filepath.Dir(path)) == "diff" {
			found = path
		}
		return nil
	})
	if err != nil || found == "" {
		t.Skipf("the layer is not found in the engine's storage (%v)", err)
	}
	f, err := os.OpenFile(found, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'!'}, m.Files[0].Size-1); err != nil {
		t.Fatal(err)
	}
	return found
}

func testEarlierPacking(t *testing.T, p *place) {
	name := p.image(t)
	p.do(t, "create", "--name", "earlier", name)
	p.do(t, "commit", "--change", "LABEL "+LabelPacking+"=0", "earlier", name)
	p.do(t, "rm", "earlier")
	p.in(t).start("after-earlier").ask("ping")
}

func testCollect(t *testing.T, p *place) {
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := p.image(t)
	p.files = drivertest.Closure(t, closure.Spec{Program: drivertest.BuildStage(t, ""), Data: []closure.Input{{From: other, To: "/other"}}})
	gone := p.image(t)
	if err := p.driver.Collect(t.Context(), func(digest string) bool { return imageOf(digest) == kept }); err != nil {
		t.Fatal(err)
	}
	images := p.do(t, "images", "--format", "{{.Repository}}:{{.Tag}}")
	if !strings.Contains(images, kept) || strings.Contains(images, gone) {
		t.Errorf("images are now\n%s", images)
	}
	r := p.in(t).start("uses-it")
	if err := p.driver.Collect(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	r.ask("ping")
	if err := r.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := p.driver.Collect(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if images := p.do(t, "images", "--quiet", "--filter", "label="+LabelClosure); images != "" {
		t.Errorf("images are left: %s", images)
	}
}

func TestProbeSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"unix://" + dir + "/none": "apt install docker.io",
		"unix://" + file:          "is it running",
		"tcp://192.0.2.1:2375":    "only one of this machine",
		"unix://relative.sock":    "only one of this machine",
	} {
		p := (&Driver{Host: host}).Probe(t.Context())
		if p.Err == nil || !strings.Contains(p.Err.Error(), want) {
			t.Errorf("%s: %v", host, p.Err)
		}
		if _, err := (&Driver{Host: host}).Recover(t.Context(), driver.Spec{ID: "a", Dir: dir}); err == nil || errors.Is(err, driver.ErrGone) {
			t.Errorf("%s: recovered: %v", host, err)
		}
	}
}

func TestProbeLeavesNothing(t *testing.T) {
	for name, engine := range engines() {
		t.Run(name, func(t *testing.T) {
			e := engine(t)
			d := &Driver{Host: e.Host, TrialDir: t.TempDir()}
			p := d.Probe(t.Context())
			if p.Err != nil || !strings.Contains(p.Engine, name) {
				t.Fatalf("%v: %v", p.Engine, p.Err)
			}
			if left := e.Containers(); len(left) > 0 {
				t.Errorf("containers are left: %q", left)
			}
			if images, err := e.Do("images", "--quiet"); err != nil || images != "" {
				t.Errorf("images are left: %s (%v)", images, err)
			}
			if files, err := os.ReadDir(d.TrialDir); err != nil || len(files) > 0 {
				t.Errorf("files are left: %v (%v)", files, err)
			}
			testCheck(t, d)
		})
	}
}

func testCheck(t *testing.T, d *Driver) {
	spec := driver.Spec{ID: "a", Program: []string{"/stage"}, Dir: "/d", Socket: "/d/s"}
	if err := d.Check(spec); err != nil {
		t.Error(err)
	}
	if devices := gpuDevices(); len(devices) > 0 {
		t.Skipf("there is a GPU: %q", devices)
	}
	spec.GPU = true
	var refused *driver.RefusedError
	if err := d.Check(spec); !errors.As(err, &refused) || !strings.Contains(refused.Instead, "provider: cpu") {
		t.Errorf("the GPU: %v", err)
	}
}
