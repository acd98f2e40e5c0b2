// Package vm runs boxes as virtual machines under QEMU: a Linux kernel, a small init, and the stage's
// closure as a read-only disk.
//
// A guest has no network card. Its wire is a port of virtio-serial, which package qemu ends in a
// socket that only the supervisor can open; the driver, in the supervisor's process, carries it to
// Spec.Socket, one connection after the other (package line). The init, cmd/init, gives the stage no
// privileges, its closure as root folder and order.Wire as the last argument of its program.
//
// # What outlives the supervisor
//
// All of the guest does: see package qemu. What the stage prints waits in a pipe of
// outlive.LogPipe bytes, and how it ended in another. Recover adopts it.
//
// A GuestDriver runs another system from a disk image, without a closure and a wire.
package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"sightline/runtime/closure/pack"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/outlive"
	"sightline/runtime/qemu"
	"sightline/runtime/vm/order"
)

// Name is the driver's.
const Name = "vm"

// DefaultMemory is what a guest has without a limit, in bytes.
const DefaultMemory = 512 << 20

// Driver runs stages in Linux guests. The zero value is ready; fields are to be set before the first
// use.
type Driver struct {
	// Arch is the guests' architecture as GOARCH; "" is this machine's. Others are translated.
	Arch string
	// Kernel is the guests' kernel; "" is the newest of Debian's cloud kernels in /boot.
	Kernel string
	// Modules is the folder with the kernel's modules; "" is ../lib/modules/VERSION seen from the
	// folder of the kernel vmlinuz-VERSION, where packages put it. A kernel with virtio and ext4 built
	// in needs none.
	Modules string
	// Init is the program built from cmd/init for Arch; "" is sightline-init beside the running program,
	// or for another architecture ARCH/sightline-init.
	Init string

	// Accelerator is what executes guests: auto, kvm or tcg; "" is auto.
	Accelerator string

	machine qemu.Machine // tests choose; "" is microvm or virt

	mu    sync.Mutex
	found *host // what can be had here; nil until it was tried
}

var (
	_ driver.Driver   = (*Driver)(nil)
	_ driver.Checker  = (*Driver)(nil)
	_ driver.Preparer = (*Driver)(nil)
)

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

func (d *Driver) arch() string {
	if d.Arch != "" {
		return d.Arch
	}
	return runtime.GOARCH
}

// host returns what was found to work here, looking for it until it is there.
func (d *Driver) host(ctx context.Context) (*host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.look(ctx)
}

// booted does the same, after a guest has booted once.
func (d *Driver) booted(ctx context.Context) (*host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, err := d.look(ctx)
	if err != nil || h.tried {
		return h, err
	}
	if err := h.try(ctx); err != nil {
		return nil, err
	}
	h.tried = true
	return h, nil
}

// look is to be called with mu held.
func (d *Driver) look(ctx context.Context) (*host, error) {
	if d.found == nil {
		found, err := d.explore(ctx)
		if err != nil {
			return nil, err
		}
		d.found = found
	}
	return d.found, nil
}

// Probe implements driver.Driver. It boots a guest, once.
func (d *Driver) Probe(ctx context.Context) driver.Probe {
	h, err := d.booted(ctx)
	if err != nil {
		return driver.Probe{Err: err, Engine: "QEMU"}
	}
	p := driver.Probe{Engine: fmt.Sprintf("%s, Linux %s", h.Emulator, h.kernelVersion)}
	p.Protect = append(h.Protects(), "virtual machine, memory and processors of the machine", "Linux guest without network card", "closure as read-only root", "no_new_privs", "no capabilities")
	p.Lacks = h.Lacks()
	return p
}

// Check implements driver.Checker.
func (d *Driver) Check(spec driver.Spec) error {
	h, err := d.host(context.Background())
	if err != nil {
		return err
	}
	return h.check(spec)
}

// Prepare implements driver.Preparer.
func (d *Driver) Prepare(ctx context.Context, spec driver.Spec) error {
	h, err := d.host(ctx)
	if err == nil {
		_, err = h.disk(ctx, spec.Files)
	}
	if err != nil {
		return fmt.Errorf("prepare vm box: %w", err)
	}
	return nil
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, fmt.Errorf("vm box %q: %w", spec.ID, err)
	}
	if err := h.check(spec); err != nil {
		return nil, err
	}
	b, err := h.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("vm box %q: %w", spec.ID, err)
	}
	return b, nil
}

// disk returns a closure as the disk of a guest.
func (h *host) disk(ctx context.Context, files driver.Files) (store.Packed, error) {
	m, err := files.Manifest(ctx)
	if err != nil {
		return store.Packed{}, err
	}
	if want := "linux/" + h.Emulator.Arch; m.Platform != want {
		return store.Packed{}, fmt.Errorf("the closure is for %s, and the guests are for %s", m.Platform, want)
	}
	return files.Pack(ctx, pack.Disk{})
}

// start starts the guest of a box.
func (h *host) start(ctx context.Context, spec driver.Spec) (*box, error) {
	disk, err := h.disk(ctx, spec.Files)
	if err != nil {
		return nil, err
	}
	o := order.Order{Program: spec.Program, UID: stageUID, PIDs: spec.Limits.PIDs}
	g, err := h.guest(o, spec.Limits)
	if err != nil {
		return nil, err
	}
	g.Disks = []qemu.Disk{{Path: disk.Path, Format: qemu.Raw}}
	log := &shared{w: spec.Log}
	p, err := qemu.Start(ctx, qemu.Launch{
		ID: spec.ID, Dir: spec.Dir, Emulator: h.Emulator, Guest: *g, Groups: h.Groups, Limits: withoutPIDs(spec.Limits), Log: log,
	})
	if err != nil {
		return nil, err
	}
	return run(p, spec, log), nil
}

// withoutPIDs are the limits of QEMU itself: those of processes count inside the guest.
func withoutPIDs(l driver.Limits) driver.Limits {
	l.PIDs = 0
	return l
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	log := &shared{w: spec.Log}
	p, err := qemu.Recover(ctx, spec.ID, spec.Dir, log, order.InitPort, order.LogPort)
	if errors.Is(err, driver.ErrGone) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("recover vm box %q: %w", spec.ID, err)
	}
	return run(p, spec, log), nil
}

// checkSpec refuses what no driver of this package takes.
func checkSpec(spec driver.Spec) error {
	if err := outlive.CheckID(spec.ID); err != nil {
		return err
	}
	if len(spec.Program) == 0 || !filepath.IsAbs(spec.Program[0]) {
		return fmt.Errorf("vm box %q: program %q is not an absolute path inside the closure", spec.ID, spec.Program)
	}
	if filepath.Dir(spec.Socket) != filepath.Clean(spec.Dir) {
		return fmt.Errorf("vm box %q: socket %q is not in %q", spec.ID, spec.Socket, spec.Dir)
	}
	return nil
}

// initBeside returns where the init for guests of an architecture is: beside the running program, or
// in a folder of the architecture's name there.
func initBeside(arch string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(program)
	if arch != runtime.GOARCH {
		dir = filepath.Join(dir, arch)
	}
	return filepath.Join(dir, "sightline-init"), nil
}
