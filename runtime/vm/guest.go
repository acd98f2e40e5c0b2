package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
	"sightline/runtime/qemu"
)

// Guest is a whole other system on a disk image.
type Guest struct {
	Disk     string       // path
	Format   qemu.Format  // never guessed
	Snapshot bool         // leave the image as it is: what the guest writes is gone when it ends
	Machine  qemu.Machine // q35, pc or virt; "" is q35, or virt where this machine is arm64
	Memory   int64        // bytes; 0 is DefaultGuestMemory
	CPUs     int          // 0 is 1
	// Firmware is a file with the machine's firmware; "" is a BIOS for PCs, and for virt the UEFI of
	// the package qemu-efi-aarch64.
	Firmware string
	// Grants are what it can reach; without any it has no network card.
	Grants []Grant
}

// DefaultGuestMemory is what a guest has of its own, in bytes.
const DefaultGuestMemory = 1 << 30

// Grant is an address in the guest's network, behind which is a socket of the supervisor, who
// connects on to what was granted.
//
// A guest has one stream to it at a time and for as long as it runs: whether a connection inside the
// guest ended or another began can't be seen outside. When the socket's end breaks, the driver
// connects to it again.
type Grant struct {
	Name   string // lower-case letters, digits and dots
	Port   uint16 // in the guest's network; its address is of Guest.Addresses
	Socket string // path
}

// firstGrant is the last byte of the first grant's address.
const firstGrant = 100

// maxGrants keeps the addresses in their network.
const maxGrants = 100

// Addresses returns where the guest finds its grants, by their names: 10.0.2.100 and on, in their order.
func (g *Guest) Addresses() map[string]netip.AddrPort {
	at := map[string]netip.AddrPort{}
	for i, grant := range g.Grants {
		at[grant.Name] = address(i, grant.Port)
	}
	return at
}

func address(i int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 2, byte(firstGrant + i)}), port)
}

// GuestDriver runs one guest from a disk image, under the contract of boxes but without a closure and
// a wire: Spec.Files, Program and Socket are not looked at. Stop presses its power button. Fields are
// to be set before the first use.
type GuestDriver struct {
	Guest       Guest
	Accelerator string // as Driver's

	kernel, initrd qemu.Source // tests start systems that have no boot loader
	words          string

	mu    sync.Mutex
	found *qemu.Host
}

var (
	_ driver.Driver  = (*GuestDriver)(nil)
	_ driver.Checker = (*GuestDriver)(nil)
)

// Name implements driver.Driver.
func (d *GuestDriver) Name() string { return Name }

func (d *GuestDriver) machine() qemu.Machine {
	if d.Guest.Machine != "" {
		return d.Guest.Machine
	}
	if runtime.GOARCH == "arm64" {
		return qemu.Virt
	}
	return qemu.Q35
}

func (d *GuestDriver) host(ctx context.Context) (*qemu.Host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found == nil {
		arch := d.machine().Arch()
		if arch == "" {
			return nil, fmt.Errorf("%q is no machine: want q35, pc or virt", d.machine())
		}
		found, err := qemu.Find(ctx, arch, d.Accelerator)
		if err != nil {
			return nil, err
		}
		d.found = found
	}
	return d.found, nil
}

// Probe implements driver.Driver. It doesn't start the guest.
func (d *GuestDriver) Probe(ctx context.Context) driver.Probe {
	h, err := d.host(ctx)
	if err == nil {
		_, err = d.machineFor(driver.Limits{})
	}
	if err != nil {
		return driver.Probe{Err: err, Engine: "QEMU"}
	}
	network := "no network card"
	if len(d.Guest.Grants) > 0 {
		network = fmt.Sprintf("network of %d granted addresses", len(d.Guest.Grants))
	}
	return driver.Probe{Engine: h.Emulator.String(), Protect: append(h.Protects(), "virtual machine, memory and processors of the machine", network), Lacks: h.Lacks()}
}

// Check implements driver.Checker.
func (d *GuestDriver) Check(spec driver.Spec) error {
	h, err := d.host(context.Background())
	if err != nil {
		return err
	}
	return d.check(h, spec)
}

// leastGuest is the least memory of a guest, in bytes.
const leastGuest = 16 << 20

func (d *GuestDriver) check(h *qemu.Host, spec driver.Spec) error {
	if err := outlive.CheckID(spec.ID); err != nil {
		return err
	}
	refused := &driver.RefusedError{Driver: Name}
	switch {
	case spec.GPU:
		refused.What, refused.Why, refused.Instead = "the GPU", "a guest has none of the machine's devices", "run it without"
		return refused
	case spec.Limits.PIDs != 0:
		refused.What = fmt.Sprintf("a limit of %d processes and threads", spec.Limits.PIDs)
		refused.Why, refused.Instead = "nobody counts them inside another system", "leave it out: none of them is a process of this machine"
		return refused
	}
	if err := checkLimits(h, spec.Limits, leastGuest); err != nil {
		return err
	}
	if _, err := d.machineFor(spec.Limits); err != nil {
		return err
	}
	return d.checkDisk()
}

func (d *GuestDriver) checkDisk() error {
	image, err := os.Open(d.Guest.Disk)
	if err != nil {
		return fmt.Errorf("open disk: %w", err)
	}
	defer image.Close()
	if err := qemu.CheckImage(image, d.Guest.Format); err != nil {
		return fmt.Errorf("disk %q %w", d.Guest.Disk, err)
	}
	return nil
}

// Start implements driver.Driver.
func (d *GuestDriver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	b, err := d.start(ctx, spec)
	var refused *driver.RefusedError
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("guest %q: %w", spec.ID, err)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (d *GuestDriver) start(ctx context.Context, spec driver.Spec) (*guestBox, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.check(h, spec); err != nil {
		return nil, err
	}
	g, err := d.machineFor(spec.Limits)
	if err != nil {
		return nil, err
	}
	limits := spec.Limits
	limits.Memory = g.Memory // it is one by itself
	p, err := qemu.Start(ctx, qemu.Launch{ID: spec.ID, Dir: spec.Dir, Emulator: h.Emulator, Guest: *g, Groups: h.Groups, Limits: limits, Log: spec.Log})
	if err != nil {
		return nil, err
	}
	return d.run(p), nil
}

// Recover implements driver.Driver.
func (d *GuestDriver) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	p, err := qemu.Recover(ctx, spec.ID, spec.Dir, spec.Log)
	if errors.Is(err, driver.ErrGone) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("recover guest %q: %w", spec.ID, err)
	}
	return d.run(p), nil
}
