package qemu

import (
	"context"
	"fmt"
	"os"

	"sightline/runtime/cgroup"
)

// Host is a QEMU that guests of one architecture run under here, and the cgroups that it can have.
type Host struct {
	Emulator *Emulator
	Groups   cgroup.Groups
	Missing  cgroup.Missing
}

// Find looks for the QEMU that runs guests of an architecture (as GOARCH), tries it, and looks for
// cgroups. The accelerator is AutoAccelerator, which "" is too, OnlyKVM or OnlyTCG. It takes a tenth of
// a second, or some seconds where KVM hangs.
func Find(ctx context.Context, arch, accelerator string) (*Host, error) {
	emulator, err := findEmulator(ctx, arch, accelerator)
	if err != nil {
		return nil, err
	}
	h := &Host{Emulator: emulator}
	h.Groups, h.Missing = cgroup.Find(false)
	return h, nil
}

// Translating returns the same without KVM, and says why.
func (h *Host) Translating(why string) *Host {
	t := *h
	t.Emulator = h.Emulator.Translating(why)
	return &t
}

// Protects says what the machine is protected by from a QEMU here.
func (h *Host) Protects() []string {
	protect := []string{"seccomp and no_new_privs of QEMU"}
	if os.Geteuid() == 0 {
		protect = append(protect, "QEMU as a user of its own")
	}
	if h.Emulator.Landlock > 0 {
		protect = append(protect, fmt.Sprintf("Landlock %d of QEMU", h.Emulator.Landlock))
	}
	if len(h.Groups.Folders) > 0 {
		protect = append(protect, "cgroup of QEMU")
	}
	return protect
}

// Lacks says what it isn't.
func (h *Host) Lacks() []string {
	var lacks []string
	if !h.Emulator.KVM {
		lacks = append(lacks, "speed, and the processor's own border between guest and host: "+h.Emulator.Why)
	}
	if os.Geteuid() != 0 {
		lacks = append(lacks, "user of its own for QEMU: the supervisor is not root, QEMU runs as its user")
	}
	if h.Emulator.Landlock == 0 {
		lacks = append(lacks, "Landlock of QEMU: "+h.Emulator.Unlocked)
	}
	for _, c := range []string{"memory", "cpu"} {
		if h.Groups.Folders[c] == "" {
			lacks = append(lacks, "limit of QEMU's own "+c+": "+h.Missing.Why(c))
		}
	}
	return lacks
}
