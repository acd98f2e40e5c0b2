package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernel is a Linux kernel on this machine.
type kernel struct {
	path    string
	version string // as in its name
	modules string // folder; it needn't exist
}

// bootFolder is where packages put kernels, and modulesFolder where they put modules, seen from there.
const (
	bootFolder    = "/boot"
	modulesFolder = "../lib/modules"
)

// findKernel returns the given kernel, or else the newest cloud kernel of Debian.
func findKernel(given, modules, arch string) (*kernel, error) {
	if given == "" {
		found, _ := filepath.Glob(filepath.Join(bootFolder, "vmlinuz-*-cloud-"+arch)) // the pattern is good
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no kernel for guests, %s/vmlinuz-*-cloud-%s: install one with: sudo apt install linux-image-cloud-%s   (or name another Linux kernel with virtio: runtime.vm.kernel, --vm-kernel, SIGHTLINE_VM_KERNEL)", bootFolder, arch, arch)
		}
		given = slices.MaxFunc(found, byVersion)
	}
	if _, err := os.Stat(given); err != nil {
		return nil, fmt.Errorf("the guests' kernel: %w", err)
	}
	k := &kernel{path: given, version: filepath.Base(given), modules: modules}
	if _, version, ok := strings.Cut(k.version, "-"); ok {
		k.version = version
	}
	if k.modules == "" {
		k.modules = filepath.Join(filepath.Dir(given), modulesFolder, k.version)
	}
	return k, nil
}

// byVersion compares names by their numbers: 6.1.0-9 comes before 6.1.0-10.
func byVersion(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(text string) []int {
	var all []int
	for _, digits := range regexp.MustCompile(`[0-9]+`).FindAllString(text, -1) {
		n, _ := strconv.Atoi(digits) // one that is too large is the largest
		all = append(all, n)
	}
	return all
}
