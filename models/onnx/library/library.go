// Package library finds ONNX Runtime on a machine. It needs no C.
package library

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Variable names the environment variable with the path of ONNX Runtime's shared library.
const Variable = "SIGHTLINE_ONNXRUNTIME"

// Minimum is the oldest version of ONNX Runtime that serves: the first with C API 24 in it.
const Minimum = "1.24.1"

// NotFoundError says where ONNX Runtime was looked for.
type NotFoundError struct{ Looked []string }

// Error lists the places, and says how to get the library.
func (e *NotFoundError) Error() string {
	return "ONNX Runtime's shared library is not there; looked for " + strings.Join(e.Looked, ", ") +
		"; get " + Minimum + " or later with `make setup`, from the npm package onnxruntime-node, or from the releases of microsoft/onnxruntime, " +
		"and name it with --onnxruntime or " + Variable
}

// Find returns the path of ONNX Runtime's shared library and its version, which is "" where the file
// does not tell. named is what the user gave with --onnxruntime; when it is empty the environment
// decides, and then what lies in the project's own folder or in the usual ones. A library that is
// named and unfit is an error; an unfit one in a usual folder is passed over.
func Find(named string) (path, version string, err error) {
	for _, given := range []string{named, os.Getenv(Variable)} {
		if given == "" {
			continue
		}
		path, err := filepath.Abs(given)
		if err != nil {
			return "", "", fmt.Errorf("library %q: %w", given, err)
		}
		version, err := inspectLibrary(path)
		return path, version, err
	}
	missing := &NotFoundError{}
	for _, pattern := range libraryPatterns() {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			missing.Looked = append(missing.Looked, pattern)
			continue
		}
		slices.Reverse(found) // newer versions of the same name come later in the alphabet
		for _, path := range found {
			if version, err = inspectLibrary(path); err == nil {
				return path, version, nil
			}
			missing.Looked = append(missing.Looked, err.Error())
		}
	}
	return "", "", missing
}

func libraryPatterns() []string {
	platform := "linux-" + runtime.GOARCH
	var folders []string
	for _, root := range projectFolders() {
		folders = append(folders,
			filepath.Join(root, ".deps", "onnxruntime", "current", platform),
			filepath.Join(root, ".deps", "onnxruntime", "*", platform))
	}
	folders = append(folders, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	folders = append(folders, "/usr/local/lib", "/usr/local/lib64", "/usr/lib/"+triplet, "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib")
	var patterns []string
	for _, folder := range folders {
		if folder != "" {
			patterns = append(patterns, filepath.Join(folder, "libonnxruntime.so*"))
		}
	}
	return patterns
}

// projectFolders are the folder of the program, the one above it (for bin/sightline) and the
// working directory.
func projectFolders() []string {
	var folders []string
	if program, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(program), filepath.Dir(filepath.Dir(program)))
	}
	if here, err := os.Getwd(); err == nil && !slices.Contains(folders, here) {
		folders = append(folders, here)
	}
	return folders
}

// inspectLibrary looks at the file before any of its code runs: is it for this machine, and new
// enough? ONNX Runtime's official builds carry their version as a symbol version, VERS_1.2.3.
func inspectLibrary(path string) (version string, err error) {
	file, err := elf.Open(path)
	var absent *fs.PathError
	switch {
	case errors.As(err, &absent):
		return "", fmt.Errorf("ONNX Runtime: %w", err)
	case err != nil:
		return "", fmt.Errorf("%q is not a shared library: %w", path, err)
	}
	defer file.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if file.Machine != machine {
		return "", fmt.Errorf("%q is for another machine (%s), this one is %s", path, file.Machine, runtime.GOARCH)
	}
	versions, err := file.DynamicVersions()
	if err != nil {
		return "", nil
	}
	for _, v := range versions {
		if found, ok := strings.CutPrefix(v.Name, "VERS_"); ok {
			return found, CheckVersion(path, found)
		}
	}
	return "", nil
}

// CheckVersion returns an error when a version of the library at path is too old.
func CheckVersion(path, version string) error {
	if older(version, Minimum) {
		return fmt.Errorf("%q is ONNX Runtime %s; %s or later is needed", path, version, Minimum)
	}
	return nil
}

// older compares versions of numbers and dots.
func older(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}
