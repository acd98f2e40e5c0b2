package loader

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// realPrograms are compared with what the machine's own loader says, where they are installed.
var realPrograms = []string{
	"ls", "bash", "ffmpeg", "ffprobe", "tar", "git", "perl", "gdb", "openssl", "curl", "mosquitto_pub",
	"qemu-system-x86_64", "python3", "ld.bfd", "as", "ssh", "systemctl",
}

var lddLine = regexp.MustCompile(`^\t(\S+)(?: => (\S+))? \(0x[0-9a-f]+\)$`)

// lddOf asks the machine's loader: name as needed → real path, the interpreter and vdso left out.
func lddOf(t *testing.T, interpreter, program string) map[string]string {
	t.Helper()
	program, err := filepath.EvalSymlinks(program) // as the kernel tells it for $ORIGIN
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(interpreter, "--list", program).CombinedOutput()
	if err != nil {
		t.Fatalf("%s --list %s: %v\n%s", interpreter, program, err, out)
	}
	libs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		m := lddLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			t.Fatalf("the loader said %q", line)
		}
		if m[2] == "" {
			continue
		}
		real, err := filepath.EvalSymlinks(m[2])
		if err != nil {
			t.Fatal(err)
		}
		libs[m[1]] = real
	}
	return libs
}

func TestRealProgramsAgreeWithTheMachinesLoader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has the loader")
	}
	compared := 0
	for _, name := range realPrograms {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		got, err := (&Loader{}).Trace(program, nil)
		if err != nil {
			if strings.Contains(err.Error(), ErrNotELF.Error()) {
				continue // a script
			}
			t.Errorf("%s: %v", program, err)
			continue
		}
		if got.Interpreter == nil {
			continue
		}
		compared++
		compareWithLoader(t, program, got)
	}
	if compared == 0 {
		t.Skip("none of the programs to compare with is installed")
	}
	t.Logf("%d programs agree", compared)
}

func compareWithLoader(t *testing.T, program string, got *Result) {
	t.Helper()
	want := lddOf(t, got.Interpreter.Path, program)
	found := map[string]string{}
	for _, lib := range got.Libraries {
		for _, n := range lib.Names {
			found[n] = lib.Path
		}
	}
	for n, p := range want {
		if found[n] != p && p != got.Interpreter.Path {
			t.Errorf("%s: %s is %q, the loader says %q", program, n, found[n], p)
		}
	}
	for n, p := range found {
		if want[n] == "" {
			t.Errorf("%s: %s (%s) is not loaded", program, n, p)
		}
	}
}

func TestForeignProgramsAreFollowedInTheirRoots(t *testing.T) {
	for _, root := range []string{"/", "/usr/aarch64-linux-gnu"} {
		program := filepath.Join(root, "lib/libm.so.6")
		if root == "/" {
			program = "/usr/lib/aarch64-linux-gnu/libm.so.6"
		}
		if _, err := os.Stat(program); err != nil {
			t.Logf("not compared: %v", err)
			continue
		}
		built := buildForeign(t)
		got, err := (&Loader{Root: root}).Trace(built, nil)
		if err != nil {
			t.Errorf("below %s: %v", root, err)
			continue
		}
		if got.Program.Machine != ARM64 || got.Interpreter == nil {
			t.Fatalf("below %s: %+v", root, got.Program)
		}
		var names []string
		for _, lib := range got.Libraries {
			names = append(names, lib.Names...)
			if lib.Object.Machine != ARM64 {
				t.Errorf("below %s: %s is for %s", root, lib.Path, lib.Object.Machine)
			}
			file, err := elf.Open(lib.Path)
			if err != nil || file.Machine != elf.EM_AARCH64 {
				t.Errorf("below %s: %s: %v", root, lib.Path, err)
			}
			file.Close()
		}
		slices.Sort(names)
		if want := []string{"libc.so.6", "libm.so.6"}; !slices.Equal(names, want) {
			t.Errorf("below %s: %q, want %q", root, names, want)
		}
	}
}

func buildForeign(t *testing.T) string {
	t.Helper()
	const compiler = "aarch64-linux-gnu-gcc"
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("no foreign compiler: %v", err)
	}
	return compile(t, compiler, t.TempDir(), "main.c", "#include <math.h>\nint main(int c,char**v){return (int)cos(c);}\n", "-o", "main", "-lm")
}

// compile writes a source file in dir and compiles it there; it returns what was made (after -o).
func compile(t *testing.T, compiler, dir, name, source string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("no compiler: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(compiler, append([]string{name}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return filepath.Join(dir, args[slices.Index(args, "-o")+1])
}

func TestEveryProgramOfTheMachineAgrees(t *testing.T) {
	if os.Getenv("SIGHTLINE_CLOSURE_ALL") == "" {
		t.Skip("SIGHTLINE_CLOSURE_ALL is not set: compares all programs of /usr/bin with the loader")
	}
	entries, err := os.ReadDir("/usr/bin")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, e := range entries {
		program := filepath.Join("/usr/bin", e.Name())
		got, err := (&Loader{}).Trace(program, nil)
		if err != nil {
			t.Logf("%s: %v", program, err)
			continue
		}
		if got.Interpreter != nil && got.Program.Machine == hostMachine() {
			compared++
			compareWithLoader(t, program, got)
		}
	}
	t.Logf("%d programs compared", compared)
}

func hostMachine() Machine {
	if runtime.GOARCH == "arm64" {
		return ARM64
	}
	return AMD64
}
