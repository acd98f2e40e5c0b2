package loader

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A bench is a folder with a program that needs liba, which needs libb.
type bench struct {
	t   *testing.T
	dir string
}

func newBench(t *testing.T) bench { return bench{t, t.TempDir()} }

func (b bench) lib(at, name, source string, flags ...string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Join(b.dir, at), 0o755); err != nil {
		b.t.Fatal(err)
	}
	args := append([]string{"-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,-soname," + name, "-o", filepath.Join(at, name), "-Wl,--allow-shlib-undefined"}, flags...)
	compile(b.t, "gcc", b.dir, name+".c", source, args...)
}

func (b bench) program(flags ...string) string {
	b.t.Helper()
	return compile(b.t, "gcc", b.dir, "main.c", "int a(void); int main(void){return a();}\n",
		append([]string{"-o", "main", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"}, flags...)...)
}

// agrees traces the program and wants what the machine's loader says, and libb from dir.
func (b bench) agrees(program, wantB string) {
	b.t.Helper()
	got, err := (&Loader{}).Trace(program, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	compareWithLoader(b.t, program, got)
	i := slices.IndexFunc(got.Libraries, func(l *Library) bool { return slices.Contains(l.Names, "libb.so") })
	if i < 0 {
		b.t.Fatal("libb.so is not found")
	}
	want, err := filepath.EvalSymlinks(filepath.Join(b.dir, wantB, "libb.so"))
	if err != nil {
		b.t.Fatal(err)
	}
	if got.Libraries[i].Path != want {
		b.t.Errorf("libb.so is %q, want %q", got.Libraries[i].Path, want)
	}
}

const (
	sourceA = "int b(void); int a(void){return b();}\n"
	sourceB = "int b(void){return 0;}\n"
)

func TestRPathOfTheProgramServesItsLibraries(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb")
	b.agrees(b.program("-Lone", "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one"), "one")
}

func TestRunPathServesItsOwnObjectOnly(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb")
	program := b.program("-Lone", "-la", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/one")
	_, err := (&Loader{}).Trace(program, nil)
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Name != "libb.so" || missing.NeededBy != filepath.Join(b.dir, "one/liba.so") {
		t.Fatalf("got %v", err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err == nil {
		t.Fatalf("but it runs: %s", out)
	}
}

func TestRunPathOfALibraryHidesRPathOfTheProgram(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("two", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb", "-Wl,--enable-new-dtags,-rpath,${ORIGIN}/../two")
	b.agrees(b.program("-Lone", "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one"), "two")
}

func TestTheFirstOfANameServesAll(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("two", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../two")
	// The program itself asks for libb first, so liba gets the same.
	b.agrees(b.program("-Lone", "-lb", "-la", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/one"), "one")
}

func TestLibAndPlatformAreReplaced(t *testing.T) {
	b := newBench(t)
	loader := Loader{}
	s, err := newSearch(&loader, hostMachine())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("one", s.lib)
	b.lib(dir, "libb.so", sourceB)
	b.lib(dir, "liba.so", sourceA, "-L"+dir, "-lb")
	b.agrees(b.program("-L"+dir, "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one/$LIB"), dir)
}

func TestCyclesEnd(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb")
	b.lib("one", "libb.so", sourceB, "-Lone", "-la")
	b.agrees(b.program("-Lone", "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one"), "one")
}

func TestALibraryForAnotherMachineIsPassedOver(t *testing.T) {
	b := newBench(t)
	b.lib("two", "libb.so", sourceB)
	b.lib("two", "liba.so", sourceA, "-Ltwo", "-lb")
	foreign := buildForeign(t)
	data, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(b.dir, "one"), 0o755), os.WriteFile(filepath.Join(b.dir, "one/libb.so"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	program := b.program("-Ltwo", "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one:$ORIGIN/two")
	b.agrees(program, "two")

	if err := os.Remove(filepath.Join(b.dir, "two/libb.so")); err != nil {
		t.Fatal(err)
	}
	_, err = (&Loader{}).Trace(program, nil)
	if err == nil || !strings.Contains(err.Error(), "is for arm64, not amd64") && hostMachine() == AMD64 {
		t.Errorf("the file passed over is not told: %v", err)
	}
}

func TestAFileThatIsNoLibraryEndsTheSearch(t *testing.T) {
	b := newBench(t)
	b.lib("two", "libb.so", sourceB)
	b.lib("two", "liba.so", sourceA, "-Ltwo", "-lb")
	program := b.program("-Ltwo", "-la", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one:$ORIGIN/two")
	bad := filepath.Join(b.dir, "one/libb.so")
	text := "GROUP ( libb.so.1 ) " + strings.Repeat("/* a linker script is no library */ ", 64)
	if err := errors.Join(os.Mkdir(filepath.Dir(bad), 0o755), os.WriteFile(bad, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := (&Loader{}).Trace(program, nil)
	if !errors.Is(err, ErrNotELF) || !strings.Contains(err.Error(), bad) {
		t.Errorf("got %v", err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err == nil {
		t.Errorf("but it runs: %s", out)
	}
}

func TestAllThatIsMissingIsToldOnceAndAtOnce(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("one", "libc1.so", "int c(void){return 0;}\n")
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb", "-lc1")
	program := b.program("-Lone", "-la", "-lb", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/one")
	if err := errors.Join(os.Remove(filepath.Join(b.dir, "one/libb.so")), os.Remove(filepath.Join(b.dir, "one/libc1.so"))); err != nil {
		t.Fatal(err)
	}
	_, err := (&Loader{}).Trace(program, nil)
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, want := range []string{
		`library "libb.so", needed by "` + program, `library "libc1.so", needed by "` + b.dir + "/one/liba.so", b.dir + "/one", "/etc/ld.so.cache", `"/usr/lib"`,
	} {
		if strings.Count(err.Error(), want) < 1 {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if n := strings.Count(err.Error(), `library "libb.so"`); n != 1 {
		t.Errorf("libb.so is told %d times", n)
	}
}

func TestOpenedLibrariesBringTheirNeeds(t *testing.T) {
	b := newBench(t)
	b.lib("one", "libb.so", sourceB)
	b.lib("one", "liba.so", sourceA, "-Lone", "-lb", "-Wl,--enable-new-dtags,-rpath,$ORIGIN")
	program := compile(t, "gcc", b.dir, "main.c", "int main(void){return 0;}\n", "-o", "main")
	got, err := (&Loader{}).Trace(program, []string{filepath.Join(b.dir, "one/liba.so")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range got.Libraries {
		names = append(names, filepath.Base(l.Path))
	}
	if !got.Libraries[0].Opened || !slices.Contains(names, "libb.so") {
		t.Errorf("got %q", names)
	}
}

func TestSubfoldersOfTheCPUAreTakenWhenWanted(t *testing.T) {
	ldconfig, err := exec.LookPath("/sbin/ldconfig")
	if err != nil {
		t.Skip(err)
	}
	b := newBench(t)
	b.lib("root/lib/extra", "libb.so", sourceB, "-nostdlib")
	b.lib("root/lib/extra/glibc-hwcaps/x86-64-v2", "libb.so", sourceB, "-nostdlib")
	b.lib("root/lib/extra/glibc-hwcaps/x86-64-v3", "libb.so", sourceB, "-nostdlib")
	b.lib("root/lib/extra", "liba.so", sourceA, "-nostdlib", "-Lroot/lib/extra", "-lb")
	b.lib("root/lib", "ld.so", "int l;\n", "-nostdlib")
	program := b.program("-nostdlib", "-e", "a", "-Lroot/lib/extra", "-la", "-Wl,--dynamic-linker,/lib/ld.so")
	root := filepath.Join(b.dir, "root")
	if err := errors.Join(os.Mkdir(root+"/etc", 0o755), os.WriteFile(root+"/etc/ld.so.conf", []byte("/lib/extra\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, cached := range []bool{false, true} {
		if cached {
			if out, err := exec.Command(ldconfig, "-r", root, "-X").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		for _, c := range []struct {
			wanted []string
			dir    string
		}{
			{nil, "/lib/extra"}, {[]string{"x86-64-v3", "x86-64-v2"}, "/lib/extra/glibc-hwcaps/x86-64-v3"},
			{[]string{"x86-64-v4", "x86-64-v2"}, "/lib/extra/glibc-hwcaps/x86-64-v2"},
		} {
			got, err := (&Loader{Root: root, HWCaps: c.wanted}).Trace(program, nil)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(got.Libraries, func(l *Library) bool { return slices.Contains(l.Names, "libb.so") })
			if i < 0 || got.Libraries[i].Path != root+c.dir+"/libb.so" {
				t.Errorf("cache %v, wanted %q: not from %s: %+v", cached, c.wanted, c.dir, got.Libraries)
			}
		}
	}
}

func TestStaticProgramsNeedNothing(t *testing.T) {
	dir := t.TempDir()
	program := compile(t, "gcc", dir, "main.c", "int main(void){return 0;}\n", "-static", "-o", "main")
	got, err := (&Loader{}).Trace(program, nil)
	if err != nil || got.Interpreter != nil || len(got.Libraries) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := (&Loader{}).Trace(program, []string{program}); err == nil || !strings.Contains(err.Error(), "static") {
		t.Errorf("opening a library: %v", err)
	}
}

func TestALibraryThatIsTooOldIsTold(t *testing.T) {
	b := newBench(t)
	if err := os.WriteFile(filepath.Join(b.dir, "new.map"), []byte("A_1 {};\nA_2 {global: a;} A_1;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "old.map"), []byte("A_1 {global: a;};\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const source = "int a(void){return 0;}\n"
	b.lib("one", "liba.so", source, "-Wl,--version-script=new.map")
	program := b.program("-Lone", "-la", "-Wl,-rpath,$ORIGIN/one")
	if _, err := (&Loader{}).Trace(program, nil); err != nil {
		t.Fatal(err)
	}
	b.lib("one", "liba.so", source, "-Wl,--version-script=old.map")
	_, err := (&Loader{}).Trace(program, nil)
	var old *VersionError
	if !errors.As(err, &old) || old.Version != (Version{"liba.so", "A_2"}) || old.NeededBy != program {
		t.Errorf("got %v", err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err == nil {
		t.Errorf("but it runs: %s", out)
	}
	b.lib("one", "liba.so", source) // with no versions at all the loader takes it
	if _, err := (&Loader{}).Trace(program, nil); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil {
		t.Errorf("but it does not run: %v: %s", err, out)
	}
}
