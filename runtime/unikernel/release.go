package unikernel

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Names in the folder of ops, and of a release.
const (
	opsFolder   = ".ops"
	latestFile  = "latest.txt"
	kernelFile  = "kernel.img"
	armEnding   = "-arm"
	maxVersion  = 64 // bytes of latestFile
	homeSetting = "OPS_HOME"
)

// release is a release of Nanos on this machine.
type release struct {
	version string
	kernel  string // its path
}

// getting says how to get a release.
func getting(arch string) string {
	update := "~/.ops/bin/ops update"
	if arch == "arm64" {
		update += " --arm"
	}
	return "to get one: curl https://ops.city/get.sh -sSfL | sh, then " + update
}

// findRelease finds the given release, or the last that ops fetched, for an architecture.
func findRelease(given, arch string) (release, error) {
	folder := given
	if given == "" {
		var err error
		if folder, err = latest(); err != nil {
			return release{}, fmt.Errorf("there is no release of Nanos: %w (%s)", err, getting(arch))
		}
	}
	if arm := strings.TrimSuffix(folder, armEnding) + armEnding; arch == "arm64" && isFile(filepath.Join(arm, kernelFile)) {
		folder = arm
	}
	r := release{version: strings.TrimSuffix(filepath.Base(folder), armEnding), kernel: filepath.Join(folder, kernelFile)}
	err := checkKernel(r.kernel, arch)
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*otherError)) {
		return release{}, fmt.Errorf("there is no release of Nanos for %s: %w (%s)", arch, err, getting(arch))
	}
	if err != nil {
		return release{}, fmt.Errorf("the release of Nanos: %w", err)
	}
	return r, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// latest returns the folder of the release that ops fetched last.
func latest() (string, error) {
	home := os.Getenv(homeSetting) // the folder that .ops is in, as ops itself takes it
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", err
		}
	}
	name := filepath.Join(home, opsFolder, latestFile)
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	version, err := parseVersion(text)
	if err != nil {
		return "", fmt.Errorf("read %q: %w", name, err)
	}
	return filepath.Join(home, opsFolder, version), nil
}

// parseVersion takes the name of a release, which becomes part of a path.
func parseVersion(text []byte) (string, error) {
	version := strings.TrimSpace(string(text))
	if len(version) > maxVersion || !regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]*$`).MatchString(version) {
		return "", fmt.Errorf("%.80q is not the version of a release", version)
	}
	return version, nil
}

// otherError is a kernel for other machines.
type otherError struct {
	path    string
	machine elf.Machine
}

func (e *otherError) Error() string { return fmt.Sprintf("%q is for %s", e.path, e.machine) }

// checkKernel returns an error for what is no kernel of an architecture.
func checkKernel(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("open kernel: %w", err)
	}
	defer f.Close()
	want := elf.EM_X86_64
	if arch == "arm64" {
		want = elf.EM_AARCH64
	}
	if f.Machine != want {
		return &otherError{path, f.Machine}
	}
	return nil
}
