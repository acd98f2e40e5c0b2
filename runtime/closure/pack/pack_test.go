package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// stage computes a closure with libraries, a link, data and a long name.
func stage(t testing.TB) *closure.Closure {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "data")
	if err := os.WriteFile(name, []byte("the model"), 0o600); err != nil {
		t.Fatal(err)
	}
	library := map[string]string{"amd64": "/lib/x86_64-linux-gnu/libz.so.1", "arm64": "/lib/aarch64-linux-gnu/libz.so.1"}[runtime.GOARCH]
	if _, err := os.Stat(library); err != nil {
		t.Skip(err)
	}
	c, err := closure.Compute(closure.Spec{
		Program: "/bin/true",
		Open:    []closure.Input{{From: library, To: "/opt/libcompress.so"}},
		Data: []closure.Input{{From: name, To: "/model/model.onnx"}, {From: name, To: "/model/" + strings.Repeat("long/", 40) + "ä"},
			{From: name, To: "/model/ odd name"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func packed(t testing.TB, p store.Packing, c *closure.Closure) []byte {
	t.Helper()
	var one, two bytes.Buffer
	if err := errors.Join(p.Pack(&one, c.Manifest, c), p.Pack(&two, c.Manifest, c)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Fatalf("%T gave other bytes the second time", p)
	}
	again := stage(t)
	var three bytes.Buffer
	if err := p.Pack(&three, again.Manifest, again); err != nil || !bytes.Equal(one.Bytes(), three.Bytes()) {
		t.Fatalf("%T gave other bytes from another folder: %v", p, err)
	}
	return one.Bytes()
}

func tool(t testing.TB, stdin []byte, dir, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// sealed makes the folders of an unpacked packing read-only as a tree's are, so that it verifies.
func sealed(t testing.TB, m *closure.Manifest, dir string) error {
	t.Helper()
	t.Cleanup(func() { _ = closure.RemoveTree(dir) })
	for _, folder := range append(m.Folders(), "/") {
		if err := os.Chmod(filepath.Join(dir, folder), 0o555); err != nil {
			return err
		}
	}
	return closure.VerifyTree(m, dir)
}

func TestTheSystemsTarUnpacksOurs(t *testing.T) {
	c := stage(t)
	data := packed(t, Tar{UID: 7, GID: 8}, c)
	dir := t.TempDir()
	tool(t, data, dir, "tar", "--no-same-owner", "-p", "-xf", "-")
	if err := sealed(t, c.Manifest, dir); err != nil {
		t.Error(err)
	}
	list := tool(t, data, dir, "tar", "--numeric-owner", "--full-time", "--utc", "-tvf", "-")
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " 7/8 ") || !strings.Contains(line, " 1970-01-01 00:00:00 ") {
			t.Errorf("%q", line)
		}
	}
}

type entry struct {
	kind byte
	data []byte
}

func untar(t testing.TB, data []byte) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		header, err := in.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = entry{header.Typeflag, content}
	}
}

// blob returns a content of the layout after it was compared with its digest and size.
func blob(t testing.TB, layout map[string]entry, d descriptor) []byte {
	t.Helper()
	data := layout["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")].data
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(data)); sum != d.Digest || int64(len(data)) != d.Size {
		t.Fatalf("%s: %d bytes with digest %s", d.Digest, len(data), sum)
	}
	return data
}

func decode(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func TestAnImageIsAnOCILayout(t *testing.T) {
	c := stage(t)
	image := Image{Name: "sightline/scene:test", Args: []string{"-x"}, Labels: map[string]string{"a": "b"}}
	layout := untar(t, packed(t, image, c))
	if got := string(layout["oci-layout"].data); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	var index imageIndex
	var manifest imageManifest
	var config imageConfig
	decode(t, layout["index.json"].data, &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "test" {
		t.Fatalf("%+v", index)
	}
	manifestData := blob(t, layout, index.Manifests[0])
	decode(t, manifestData, &manifest)
	configData := blob(t, layout, manifest.Config)
	decode(t, configData, &config)
	layer := blob(t, layout, manifest.Layers[0])
	if config.RootFS.DiffIDs[0] != manifest.Layers[0].Digest || config.Architecture != runtime.GOARCH || config.OS != "linux" {
		t.Errorf("%+v", config)
	}
	if run := config.Config; run.User != "65532:65532" || !slices.Equal(run.Entrypoint, []string{"/stage", "-x"}) || strings.Contains(string(configData), `"Env"`) {
		t.Errorf("%+v", run)
	}
	if string(untar(t, layer)["model/model.onnx"].data) != "the model" {
		t.Error("the layer lacks the model")
	}
	id, err := image.Identity(c.Manifest, c)
	if err != nil || id.Config != closure.Sum(configData) || id.Manifest != closure.Sum(manifestData) || id.Layer != closure.Sum(layer) {
		t.Errorf("%+v, %v", id, err)
	}
	var docker []dockerEntry
	decode(t, layout["manifest.json"].data, &docker)
	if len(docker) != 1 || docker[0].Config != "blobs/sha256/"+string(id.Config) || docker[0].RepoTags[0] != image.Name {
		t.Errorf("%+v", docker)
	}
}

func TestDockerLoadsAndRunsAnImage(t *testing.T) {
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		t.Skipf("no engine: %v: %s", err, out)
	}
	c := stage(t)
	image := Image{Name: "sightline-closure-test:pack"}
	id, err := image.Identity(c.Manifest, c)
	if err != nil {
		t.Fatal(err)
	}
	tool(t, packed(t, image, c), "", "docker", "load")
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", image.Name).Run() })
	if got := tool(t, nil, "", "docker", "image", "inspect", "-f", "{{.Id}}", image.Name); strings.TrimSpace(got) != "sha256:"+string(id.Config) {
		t.Errorf("it is %s, not %s", got, id.Config)
	}
	tool(t, nil, "", "docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", image.Name)
}

func initramfs(plain bool) Initramfs {
	return Initramfs{Init: []byte("#!init"), Plain: plain, Extra: []Extra{{Path: "/modules/virtio.ko", Data: []byte("module")}}}
}

func TestAnInitramfsReadsBack(t *testing.T) {
	c := stage(t)
	data := packed(t, initramfs(false), c)
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil || !z.ModTime.IsZero() || z.Name != "" {
		t.Fatalf("%v, %+v", err, z.Header)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(unpacked, packed(t, initramfs(true), c)) {
		t.Error("compressed and plain differ")
	}
	nodes := readCpio(t, unpacked)
	for _, f := range c.Manifest.Files {
		n := nodes[f.Path[1:]]
		if f.Link != "" && (n.mode != typeSym|0o777 || string(n.data) != f.Link) {
			t.Errorf("%s: %o %q", f.Path, n.mode, n.data)
		}
		if f.Link == "" && (n.mode != typeFile|f.Mode() || closure.Sum(n.data) != f.SHA256) {
			t.Errorf("%s: %o, %d bytes", f.Path, n.mode, len(n.data))
		}
	}
	for name, want := range map[string]node{
		"init": {mode: typeFile | 0o555, data: []byte("#!init")}, "modules/virtio.ko": {mode: typeFile | 0o444, data: []byte("module")},
		"dev": {mode: typeDir | 0o755}, "proc": {mode: typeDir | 0o755}, "sys": {mode: typeDir | 0o755}, "tmp": {mode: typeDir | 0o1777},
		"dev/console": {mode: typeChar | 0o600, major: 5, minor: 1}, "dev/null": {mode: typeChar | 0o666, major: 1, minor: 3},
	} {
		n, ok := nodes[name]
		if !ok || n.mode != want.mode || !bytes.Equal(n.data, want.data) || n.major != want.major || n.minor != want.minor {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// readCpio reads the newc form; folders must come before what is in them.
func readCpio(t testing.TB, data []byte) map[string]node {
	t.Helper()
	if len(data)%512 != 0 {
		t.Errorf("%d bytes", len(data))
	}
	nodes, at := map[string]node{"": {}}, 0
	for {
		var field [13]uint32
		if string(data[at:at+6]) != "070701" {
			t.Fatalf("at %d: %q", at, data[at:at+6])
		}
		for i := range field {
			if _, err := fmt.Sscanf(string(data[at+6+8*i:at+14+8*i]), "%08X", &field[i]); err != nil {
				t.Fatal(err)
			}
		}
		name := string(data[at+110 : at+110+int(field[11])-1])
		begin := (at + 110 + int(field[11]) + 3) &^ 3
		end := begin + int(field[6])
		if name == "TRAILER!!!" {
			return nodes
		}
		if parent := strings.TrimPrefix(filepath.Dir("/"+name), "/"); field[5] != 0 || nodes[parent].mode&typeDir == 0 && parent != "" {
			t.Errorf("%s comes before its folder, or has a time", name)
		}
		if _, twice := nodes[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		nodes[name] = node{path: name, mode: field[1], major: field[9], minor: field[10], data: data[begin:end]}
		at = (end + 3) &^ 3
	}
}

func TestTheSystemsCpioUnpacksOurs(t *testing.T) {
	c := stage(t)
	dir := t.TempDir()
	// Only root may make nodes.
	tool(t, packed(t, initramfs(true), c), dir, "cpio", "-idm", "--no-absolute-filenames", "--no-preserve-owner", "--quiet", "-D", dir, "-f", "dev/*")
	for _, name := range []string{"init", "modules", "dev", "proc", "sys", "tmp"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sealed(t, c.Manifest, dir); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeAnInitramfsIsRefused(t *testing.T) {
	c := stage(t)
	for reason, i := range map[string]Initramfs{
		"no init":                        {},
		`"/stage" is there twice`:        {Init: []byte("x"), Extra: []Extra{{Path: "/stage"}}},
		`"/init" is there twice`:         {Init: []byte("x"), Extra: []Extra{{Path: "/init"}}},
		"is not a clean":                 {Init: []byte("x"), Extra: []Extra{{Path: "../x"}}},
		"have to be a folder too":        {Init: []byte("x"), Extra: []Extra{{Path: "/init/x"}}},
		"file \"/tmp\" would have to be": {Init: []byte("x"), Extra: []Extra{{Path: "/tmp"}}},
	} {
		if err := i.Pack(io.Discard, c.Manifest, c); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

func TestABundleHasNoLinks(t *testing.T) {
	c := stage(t)
	dir := filepath.Join(t.TempDir(), "bundle")
	t.Cleanup(func() { _ = closure.RemoveTree(dir) })
	b, err := WriteBundle(c.Manifest, c, dir)
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, f := range c.Manifest.Files {
		at, want := filepath.Join(b.Root, f.Path), f.SHA256
		if f.Path == closure.ProgramPath {
			at = b.Program
		}
		if f.Link != "" {
			links++
			i := slices.IndexFunc(c.Manifest.Files, func(g closure.File) bool { return g.Path == f.Target() })
			want = c.Manifest.Files[i].SHA256
		}
		info, err := os.Lstat(at)
		if err != nil || !info.Mode().IsRegular() || info.ModTime().Unix() != 0 {
			t.Errorf("%s: %v, %v", f.Path, info, err)
			continue
		}
		if data, err := os.ReadFile(at); err != nil || closure.Sum(data) != want {
			t.Errorf("%s: other content, %v", f.Path, err)
		}
	}
	if links == 0 {
		t.Error("the closure had no link to begin with")
	}
	if _, err := os.Lstat(filepath.Join(b.Root, "stage")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program is in the root too: %v", err)
	}
}

// liar has other contents than it says.
type liar struct{}

func (liar) Open(closure.Digest) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("something else")), nil
}

func TestContentsThatWereChangedAreNotPacked(t *testing.T) {
	c := stage(t)
	for _, p := range []store.Packing{Tar{}, Image{}, initramfs(false)} {
		if err := p.Pack(io.Discard, c.Manifest, liar{}); err == nil || !strings.Contains(err.Error(), "was changed") {
			t.Errorf("%T: %v", p, err)
		}
	}
	if _, err := WriteBundle(c.Manifest, liar{}, filepath.Join(t.TempDir(), "b")); err == nil {
		t.Error("bundled")
	}
}

func TestKeysTellSettingsApart(t *testing.T) {
	seen := map[string]store.Packing{}
	for _, p := range []store.Packing{
		Tar{}, Tar{UID: 1}, Tar{GID: 1}, Image{}, Image{Name: "a"}, Image{User: "1"}, Image{Args: []string{"x"}}, Image{Labels: map[string]string{"a": "b"}},
		initramfs(true), initramfs(false), Initramfs{Init: []byte("other")},
	} {
		key, err := p.Key()
		if err != nil || seen[key] != nil {
			t.Errorf("%+v and %+v: %q, %v", p, seen[key], key, err)
		}
		seen[key] = p
	}
}
