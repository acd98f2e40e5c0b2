package library

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestTheLibraryThatIsNamed(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "libonnxruntime.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"that is not there", filepath.Join(folder, "nothing.so"), "no such file"},
		{"that is no library", text, "is not a shared library"},
		{"without a version it is taken as it is", self, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(Variable, "/nowhere")
			path, _, err := Find(test.path)
			switch {
			case test.want == "" && (err != nil || path != test.path):
				t.Errorf("found %q, %v", path, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
	t.Setenv(Variable, text)
	if _, _, err := Find(""); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("the environment's: %v", err)
	}
}

func TestALibraryInTheProjectsFolder(t *testing.T) {
	real, _, err := Find("")
	if err != nil {
		t.Skip(err)
	}
	here := t.TempDir()
	t.Chdir(here)
	t.Setenv(Variable, "")
	t.Setenv("LD_LIBRARY_PATH", "")
	folder := filepath.Join(here, ".deps", "onnxruntime", "1.99.0", "linux-"+runtime.GOARCH)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(folder, "libonnxruntime.so")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var missing *NotFoundError
	if path, _, err := Find(""); err == nil {
		t.Logf("the machine has one of its own: %s", path)
	} else if !errors.As(err, &missing) || !strings.Contains(err.Error(), broken) || !strings.Contains(err.Error(), "--onnxruntime") {
		t.Errorf("error is %v", err)
	}
	good := filepath.Join(folder, "libonnxruntime.so.1")
	if err := os.Symlink(real, good); err != nil {
		t.Fatal(err)
	}
	path, version, err := Find("")
	if err != nil || path != good || older(version, Minimum) {
		t.Errorf("found %q %q, %v", path, version, err)
	}
}

func TestVersions(t *testing.T) {
	for version, want := range map[string]bool{"1.18.0": true, "1.24.0": true, "1.24.1": false, "1.24.10": false, "1.30.0": false, "2.0.0": false, "1.24": true, "0.9.9": true} {
		if got := older(version, Minimum); got != want {
			t.Errorf("%s is older than %s: %v", version, Minimum, got)
		}
		if err := CheckVersion("lib.so", version); (err != nil) != want {
			t.Errorf("%s: %v", version, err)
		}
	}
}
