package vm

import (
	"context"
	"fmt"
	"os"

	"sightline/runtime/cgroup"
	"sightline/runtime/qemu"
)

// engine is the QEMU that guests run under here.
type engine struct {
	arch     string
	emulator *qemu.Emulator
	groups   cgroup.Groups
	limiting map[string]error // why controllers of cgroups are missing
}

func findEngine(ctx context.Context, arch, accelerator string) (*engine, error) {
	emulator, err := qemu.FindWith(ctx, arch, accelerator)
	if err != nil {
		return nil, err
	}
	e := &engine{arch: arch, emulator: emulator}
	e.groups, e.limiting = cgroup.Find(false)
	return e, nil
}

// Protects says what every guest is protected by here.
func (e *engine) Protects() []string {
	protect := []string{"virtual machine", "memory and processors of the machine"}
	if os.Geteuid() == 0 {
		protect = append(protect, "QEMU as a user of its own")
	}
	if e.emulator.Landlock > 0 {
		protect = append(protect, fmt.Sprintf("Landlock %d of QEMU", e.emulator.Landlock))
	}
	if len(e.groups.Folders) > 0 {
		protect = append(protect, "cgroup of QEMU")
	}
	return protect
}

// Lacks says what it isn't.
func (e *engine) Lacks() []string {
	var lacks []string
	if !e.emulator.KVM {
		lacks = append(lacks, "speed, and the processor's own border between guest and host: "+e.emulator.Why)
	}
	if os.Geteuid() != 0 {
		lacks = append(lacks, "user of its own for QEMU: the supervisor is not root, QEMU runs as its user")
	}
	if e.emulator.Landlock == 0 {
		lacks = append(lacks, "Landlock of QEMU: "+e.emulator.Unlocked)
	}
	for _, c := range []string{"memory", "cpu"} {
		if e.groups.Folders[c] == "" {
			lacks = append(lacks, "limit of QEMU's own "+c+": "+e.whyNot(c))
		}
	}
	return lacks
}

func (e *engine) whyNot(controller string) string {
	if err := e.limiting[controller]; err != nil {
		return err.Error()
	}
	return "there is no " + controller + " cgroup"
}
