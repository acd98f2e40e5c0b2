package unikernel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/qemu"
	"sightline/runtime/unikernel/nanos"
)

// wireName names the forwarded address in package qemu.
const wireName = "wire"

// host is what guests are made of here.
type host struct {
	*qemu.Host
	machine qemu.Machine
	release release
	kernel  *os.File
}

// explore finds all that guests take, and boots one.
func (d *Driver) explore(ctx context.Context) (*host, error) {
	h := &host{machine: qemu.Microvm}
	if d.arch() == "arm64" {
		h.machine = qemu.Virt
	}
	var err error
	if h.release, err = findRelease(d.Release, d.arch()); err != nil {
		return nil, err
	}
	if h.Host, err = qemu.Find(ctx, d.arch(), d.Accelerator); err != nil {
		return nil, err
	}
	if h.kernel, err = os.Open(h.release.kernel); err != nil {
		return nil, fmt.Errorf("the release of Nanos: %w", err)
	}
	err = h.try(ctx)
	if err != nil && h.Emulator.KVM && ctx.Err() == nil {
		h.Host = h.Translating(fmt.Sprintf("/dev/kvm: %v", err))
		err = h.try(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boot a guest with %s: %w", h.release.kernel, err), h.kernel.Close())
	}
	return h, nil
}

// image is how the closure of a box becomes its disk. The network that the guest has a route to has
// two addresses: its own and Wire's.
func image(program []string) nanos.Image {
	wire := netip.MustParseAddrPort(Wire)
	return nanos.Image{
		Program: append(append([]string{}, program...), Wire),
		Address: netip.PrefixFrom(wire.Addr().Next(), 31),
	}
}

// guest returns the machine of a guest that boots from a disk.
func (h *host) guest(disk string, limits driver.Limits) qemu.Guest {
	memory := int64(DefaultMemory)
	if limits.Memory > 0 {
		memory = limits.Memory / mib * mib
	}
	cpus := max(1, int(math.Ceil(limits.CPUs)))
	return qemu.Guest{
		Machine: h.machine, CPUs: cpus, Memory: memory,
		Kernel: qemu.Source{File: h.kernel},
		Disks:  []qemu.Disk{{Path: disk, Format: qemu.Raw}},
		Network: &qemu.Network{
			Card:     qemu.VirtioCard,
			Forwards: []qemu.Forward{{Name: wireName, Address: netip.MustParseAddrPort(Wire)}},
		},
		// With the index of events the guest's network stops for good in some of a hundred starts.
		NoEventIndex: true,
		DebugExit:    h.Emulator.Arch == "amd64", OneIOAPIC: true, LowMemory: true,
	}
}

// disk returns a closure as the disk of a guest, whose kernel finds on it what to run.
func (h *host) disk(ctx context.Context, spec driver.Spec) (store.Packed, error) {
	m, err := spec.Files.Manifest(ctx)
	if err != nil {
		return store.Packed{}, err
	}
	if want := "linux/" + h.Emulator.Arch; m.Platform != want {
		return store.Packed{}, fmt.Errorf("the closure is for %s, and the guests are for %s", m.Platform, want)
	}
	if err := hasProgram(m, spec.Program[0]); err != nil {
		return store.Packed{}, err
	}
	return spec.Files.Pack(ctx, image(spec.Program))
}

// start starts the guest of a box.
func (h *host) start(ctx context.Context, spec driver.Spec) (*box, error) {
	disk, err := h.disk(ctx, spec)
	if err != nil {
		return nil, err
	}
	console := watch(spec.Log)
	p, err := qemu.Start(ctx, qemu.Launch{
		ID: spec.ID, Dir: spec.Dir, Emulator: h.Emulator, Guest: h.guest(disk.Path, spec.Limits),
		Groups: h.Groups, Limits: spec.Limits, Log: console,
	})
	if err != nil {
		return nil, err
	}
	return run(p, console, spec.Socket, h.Emulator.Arch, false), nil
}

// hasProgram returns an error when the kernel would find no program at a path.
func hasProgram(m *closure.Manifest, path string) error {
	for _, f := range m.Files {
		if f.Path == path {
			return nil
		}
	}
	return fmt.Errorf("program %q is not in the closure", path)
}

// trialID is the ID of a guest that is only tried.
func trialID(arch string) string {
	return fmt.Sprintf("probe-%s-%s-%d", Name, arch, os.Getpid())
}
