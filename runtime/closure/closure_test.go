package closure

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/runtime/closure/loader"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return name
}

func run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// buildStage makes a program in dir that needs liba, by DT_RPATH, and opens libopen.so.3 under
// another name; it prints 7.
func buildStage(t testing.TB, dir string) Spec {
	t.Helper()
	write(t, filepath.Join(dir, "a.c"), "int a(void){return 3;}\n")
	write(t, filepath.Join(dir, "wrong.c"), "int a(void){return 30;}\n")
	write(t, filepath.Join(dir, "o.c"), "int a(void); int o(void){return 1+a();}\n")
	write(t, filepath.Join(dir, "main.c"), `#include <dlfcn.h>
#include <stdio.h>
int a(void);
int main(void){
	void*h=dlopen("libopen.so",RTLD_NOW);
	if(!h){puts(dlerror());return 1;}
	int(*o)(void)=(int(*)(void))dlsym(h,"o");
	void*again=dlopen("libopen.so.3",RTLD_NOW);
	printf("%d %s\n",a()+o(),again==h?"one":"two");
	return 0;
}
`)
	if err := os.MkdirAll(filepath.Join(dir, "libs"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "gcc", "-shared", "-fPIC", "-Wl,-soname,liba.so.1", "-o", "libs/liba.so.1", "a.c")
	run(t, dir, "gcc", "-shared", "-fPIC", "-Wl,-soname,libopen.so.3", "-o", "libs/libopen.so.3.1.4", "o.c", "libs/liba.so.1")
	run(t, dir, "gcc", "-o", "main", "main.c", "libs/liba.so.1", "-Wl,--disable-new-dtags,-rpath,"+filepath.Join(dir, "libs"))
	return Spec{
		Program: filepath.Join(dir, "main"),
		Open:    []Input{{From: filepath.Join(dir, "libs/libopen.so.3.1.4"), To: "/lib/libopen.so"}},
		Data:    []Input{{From: write(t, filepath.Join(dir, "model/card.json"), "{}"), To: "/model/card.json"}},
	}
}

func compute(t testing.TB, spec Spec) *Closure {
	t.Helper()
	c, err := Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func digest(t testing.TB, m *Manifest) Digest {
	t.Helper()
	d, err := m.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newTree names a folder to lay out in, and takes it away in the end, read-only as it will be.
func newTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	t.Cleanup(func() { _ = RemoveTree(dir) })
	return dir
}

func find(m *Manifest, p string) *File {
	if i := slices.IndexFunc(m.Files, func(f File) bool { return f.Path == p }); i >= 0 {
		return &m.Files[i]
	}
	return nil
}

func TestAStageRunsFromItsClosureAlone(t *testing.T) {
	dir := t.TempDir()
	c := compute(t, buildStage(t, dir))
	m := c.Manifest
	if f := find(m, "/lib/libopen.so.3"); f == nil || f.Link != "libopen.so" {
		t.Errorf("the soname of the opened library is no link to it: %+v", f)
	}
	if find(m, "/lib/liba.so.1") == nil || find(m, "/lib/libc.so.6") == nil || find(m, m.Interpreter) == nil || find(m, CachePath) == nil {
		t.Errorf("something is missing: %+v", m.Files)
	}
	tree := newTree(t)
	if err := Materialise(m, c, tree); err != nil {
		t.Fatal(err)
	}
	// Where the program's own RPATH leads there is another liba now: it must not be taken.
	run(t, dir, "gcc", "-shared", "-fPIC", "-Wl,-soname,liba.so.1", "-o", "libs/liba.so.1", "wrong.c")
	command := m.Command(tree)
	if got := run(t, "/", command[0], command[1:]...); got != "7 one\n" {
		t.Errorf("in a folder it printed %q", got)
	}
	if os.Getuid() != 0 {
		t.Skip("only root may change the root folder")
	}
	if got := run(t, "/", "chroot", tree, ProgramPath); got != "7 one\n" {
		t.Errorf("with the closure as its root it printed %q", got)
	}
}

func TestTheSameInputsGiveTheSameDigestWhereverTheyLie(t *testing.T) {
	static := func(dir string) Spec {
		write(t, filepath.Join(dir, "main.c"), "int main(void){return 0;}\n")
		run(t, dir, "gcc", "-o", "main", "main.c", "-lm", "-Wl,--no-as-needed")
		return Spec{Program: filepath.Join(dir, "main"), Data: []Input{
			{From: write(t, filepath.Join(dir, "b"), "data b"), To: "/model/b"}, {From: write(t, filepath.Join(dir, "a"), "data a"), To: "/model/a"}}}
	}
	one, two := static(t.TempDir()), static(t.TempDir())
	slices.Reverse(two.Data)
	if err := os.Chmod(two.Program, 0o700); err != nil {
		t.Fatal(err)
	}
	first, second := compute(t, one).Manifest, compute(t, two).Manifest
	if digest(t, first) != digest(t, second) {
		t.Errorf("%+v\n%+v", first, second)
	}
	data, err := first.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), filepath.Dir(one.Program)) {
		t.Errorf("the manifest tells where the files were:\n%s", data)
	}
	write(t, one.Data[0].From, "data c")
	if digest(t, first) == digest(t, compute(t, one).Manifest) {
		t.Error("other data gave the same digest")
	}
}

func TestAStaticGoProgramIsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { println(\"stage\") }\n")
	for _, arch := range []string{"amd64", "arm64"} {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", arch, "main.go")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch, "GOOS=linux", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		m := compute(t, Spec{Program: filepath.Join(dir, arch), Platform: "linux/" + arch}).Manifest
		if len(m.Files) != 1 || m.Interpreter != "" || m.Platform != "linux/"+arch || len(m.Command("/r")) != 1 {
			t.Errorf("%s: %+v", arch, m)
		}
	}
	if _, err := Compute(Spec{Program: filepath.Join(dir, "arm64"), Platform: "linux/amd64"}); err == nil || !strings.Contains(err.Error(), "is for linux/arm64, not linux/amd64") {
		t.Errorf("got %v", err)
	}
}

func TestRealProgramsRunFromTheirClosures(t *testing.T) {
	for name, args := range map[string][]string{"ls": {"--version"}, "ffmpeg": {"-hide_banner", "-version"}} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Logf("not tried: %v", err)
			continue
		}
		c := compute(t, Spec{Program: program})
		tree := newTree(t)
		if err := Materialise(c.Manifest, c, tree); err != nil {
			t.Fatal(err)
		}
		command := append(c.Manifest.Command(tree), args...)
		want, got := run(t, "/", program, args...), run(t, "/", command[0], command[1:]...)
		if strings.ReplaceAll(got, tree+"/stage", name) != strings.ReplaceAll(want, program, name) {
			t.Errorf("%s said\n%s\nnot\n%s", name, got, want)
		}
		t.Logf("%s: %d files, %d bytes", name, len(c.Manifest.Files), c.Manifest.Size())
	}
}

func TestAForeignStageIsComputedAndRuns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.c"), "#include <math.h>\n#include <stdio.h>\nint main(int c,char**v){printf(\"%.1f\\n\",cos(c-1));return 0;}\n")
	run(t, dir, "aarch64-linux-gnu-gcc", "-fno-builtin", "-o", "main", "main.c", "-lm")
	c := compute(t, Spec{Program: filepath.Join(dir, "main"), Root: "/usr/aarch64-linux-gnu"})
	if c.Manifest.Platform != "linux/arm64" || find(c.Manifest, "/lib/libm.so.6") == nil {
		t.Fatalf("%+v", c.Manifest)
	}
	tree := newTree(t)
	if err := Materialise(c.Manifest, c, tree); err != nil {
		t.Fatal(err)
	}
	emulator, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Skipf("computed, but not run: %v", err)
	}
	if got := run(t, "/", emulator, c.Manifest.Command(tree)...); got != "1.0\n" {
		t.Errorf("it printed %q", got)
	}
}

func TestONNXRuntimeIsTakenWithWhatItNeeds(t *testing.T) {
	library := os.Getenv("SIGHTLINE_ONNXRUNTIME")
	if library == "" {
		t.Skip("SIGHTLINE_ONNXRUNTIME is not set: no ONNX Runtime to take")
	}
	c := compute(t, Spec{Program: "/bin/ls", Open: []Input{{From: library, To: "/lib/libonnxruntime.so"}}})
	if find(c.Manifest, "/lib/libonnxruntime.so") == nil || find(c.Manifest, "/lib/libstdc++.so.6") == nil {
		t.Errorf("%+v", c.Manifest.Files)
	}
	t.Logf("%d files, %d bytes", len(c.Manifest.Files), c.Manifest.Size())
}

func TestALibraryNeededByItsPathStaysThere(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "own/liba.so")
	if err := os.Mkdir(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.c"), "int a(void){return 3;}\n")
	write(t, filepath.Join(dir, "main.c"), "int a(void);int main(void){return a()-3;}\n")
	run(t, dir, "gcc", "-shared", "-fPIC", "-o", "own/liba.so", "a.c") // without a soname the path is taken
	run(t, dir, "gcc", "-o", "main", "main.c", at)
	if m := compute(t, Spec{Program: filepath.Join(dir, "main")}).Manifest; find(m, at) == nil || find(m, "/lib/liba.so") != nil {
		t.Errorf("%+v", m.Files)
	}
	run(t, dir, "gcc", "-o", "main", "main.c", "own/liba.so")
	t.Chdir(dir)
	if _, err := Compute(Spec{Program: filepath.Join(dir, "main")}); err == nil || !strings.Contains(err.Error(), "own/liba.so") {
		t.Errorf("a path from the working folder: %v", err)
	}
}

func TestWhatIsMissingIsToldByName(t *testing.T) {
	dir := t.TempDir()
	spec := buildStage(t, dir)
	if err := os.Remove(filepath.Join(dir, "libs/liba.so.1")); err != nil {
		t.Fatal(err)
	}
	_, err := Compute(spec)
	var missing *loader.MissingError
	if !errors.As(err, &missing) || missing.Name != "liba.so.1" || !slices.Contains(missing.Looked, filepath.Join(dir, "libs")) {
		t.Errorf("got %v", err)
	}
	for reason, spec := range map[string]Spec{
		"no such file":             {Program: filepath.Join(dir, "none")},
		"not an ELF file":          {Program: filepath.Join(dir, "main.c")},
		"add data":                 {Program: "/bin/ls", Data: []Input{{From: filepath.Join(dir, "none"), To: "/d"}}},
		"clean absolute":           {Program: "/bin/ls", Data: []Input{{From: filepath.Join(dir, "a.c"), To: "../d"}}},
		"which the system owns":    {Program: "/bin/ls", Data: []Input{{From: filepath.Join(dir, "a.c"), To: "/dev/d"}}},
		"would be \"/stage\"":      {Program: "/bin/ls", Data: []Input{{From: filepath.Join(dir, "a.c"), To: "/stage"}}},
		"holds no certificate":     {Program: "/bin/ls", Certificates: filepath.Join(dir, "a.c")},
		"is below \"/lib/x\"":      {Program: "/bin/ls", Data: []Input{{From: filepath.Join(dir, "a.c"), To: "/lib/x"}, {From: filepath.Join(dir, "a.c"), To: "/lib/x/y"}}},
		"no regular file":          {Program: "/bin/ls", Data: []Input{{From: "/dev/null", To: "/null"}}},
		"holds a RSA PRIVATE KEY,": {Program: "/bin/ls", Certificates: write(t, filepath.Join(dir, "key.pem"), "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")},
	} {
		if _, err := Compute(spec); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
}

func TestCertificatesLieWhereProgramsLook(t *testing.T) {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(bundle); err != nil {
		t.Skip(err)
	}
	m := compute(t, Spec{Program: "/bin/ls", Certificates: bundle}).Manifest
	if f := find(m, CertificatesPath); f == nil || f.Kind != Certificates || f.Mode() != 0o444 {
		t.Errorf("%+v", f)
	}
}
