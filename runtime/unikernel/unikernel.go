// Package unikernel runs boxes as unikernels: guests of QEMU with the Nanos kernel, which has one
// program in it, no user but that program, and no shell, no fork and no exec.
//
// The closure becomes a disk image (package nanos), which the guest reads and cannot write. Its wire
// is a TCP connection to the only address that its network has, Wire, the last argument of the
// program; package qemu ends it in a socket that only the supervisor can open, and carries it to
// Spec.Socket, one connection after the other (package line).
//
// The kernel is the user's: a release of Nanos, as its own tool ops fetches it. ops itself is not
// used, see package nanos.
//
// # What outlives the supervisor
//
// All of the guest does: see package qemu. What it prints waits in a pipe of outlive.LogPipe bytes.
// Recover adopts it.
package unikernel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// Name is the driver's.
const Name = "unikernel"

// Wire is where the program of a box finds its wire.
const Wire = "10.0.2.100:7777"

// DefaultMemory is what a guest has without a limit, in bytes.
const DefaultMemory = 512 << 20

// Driver runs stages in Nanos guests. The zero value is ready; fields are to be set before the first
// use.
type Driver struct {
	// Arch is the guests' architecture as GOARCH; "" is this machine's. Others are translated.
	Arch string
	// Release is the folder of a release of Nanos, with its kernel.img, of which the one for arm64
	// may have -arm added to its name; "" is the one that ops fetched last: in OPS_HOME/.ops, or
	// ~/.ops where OPS_HOME is not set.
	Release string
	// Accelerator is what guests run on: qemu.AutoAccelerator, which "" is too, qemu.OnlyKVM or
	// qemu.OnlyTCG.
	Accelerator string

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

// host returns what was found to work here, trying it until it does.
func (d *Driver) host(ctx context.Context) (*host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	h, err := d.host(ctx)
	if err != nil {
		return driver.Probe{Err: err, Engine: "QEMU, Nanos"}
	}
	p := driver.Probe{Engine: fmt.Sprintf("%s, Nanos %s", h.Emulator, h.release.version)}
	p.Protect = append(h.Protects(), "virtual machine, memory of the machine", "kernel without users, fork and exec", "network of one address", "closure as read-only disk", "no environment")
	p.Lacks = append(h.Lacks(), "border between program and kernel inside the guest worth relying on: what takes over the program is to be taken to have the guest's kernel, not the host")
	if h.Emulator.Arch == "arm64" {
		p.Lacks = append(p.Lacks, "exit status of the program: the kernel doesn't tell it on arm64")
	}
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
		_, err = h.disk(ctx, spec)
	}
	if err != nil {
		return fmt.Errorf("prepare unikernel box: %w", err)
	}
	return nil
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, fmt.Errorf("unikernel box %q: %w", spec.ID, err)
	}
	if err := h.check(spec); err != nil {
		return nil, err
	}
	b, err := h.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("unikernel box %q: %w", spec.ID, err)
	}
	return b, nil
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	console := watch(spec.Log)
	p, err := qemu.Recover(ctx, spec.ID, spec.Dir, console)
	if errors.Is(err, driver.ErrGone) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("recover unikernel box %q: %w", spec.ID, err)
	}
	return run(p, console, spec.Socket, d.arch(), true), nil
}
