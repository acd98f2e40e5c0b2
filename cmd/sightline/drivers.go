package main

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"sightline/configs"
	"sightline/runtime/container"
	"sightline/runtime/driver"
	"sightline/runtime/process"
	"sightline/runtime/qemu"
	"sightline/runtime/unikernel"
	"sightline/runtime/vm"
)

// boxDrivers are the drivers of boxes outside of sightline, by the kind of box, with what the pipeline
// file says of what they stand on.
func boxDrivers(r configs.Runtime) map[string]driver.Driver {
	return map[string]driver.Driver{
		configs.Process:   process.New(),
		configs.Container: &container.Driver{Host: r.Container.Engine},
		configs.VM:        &vm.Driver{Kernel: r.VM.Kernel, Modules: r.VM.Modules, Accelerator: r.VM.Accelerator},
		configs.Unikernel: &unikernel.Driver{Release: r.Unikernel.Release, Accelerator: r.VM.Accelerator},
	}
}

// guestDriver is the driver of one whole other system. socket names the supervisor's socket for each
// of its grants, by the grant's name.
func guestDriver(r configs.Runtime, name string, socket func(grant string) string) (*vm.GuestDriver, error) {
	c := r.Guests[name]
	d := &vm.GuestDriver{Accelerator: r.VM.Accelerator, Guest: vm.Guest{
		Disk: c.Disk, Format: qemu.Format(c.Format), Snapshot: c.Snapshot, Machine: qemu.Machine(c.Machine),
		Memory: int64(c.Memory), CPUs: c.CPUs,
	}}
	for _, grant := range slices.Sorted(maps.Keys(c.Grants)) {
		_, text, err := net.SplitHostPort(c.Grants[grant])
		if err != nil {
			return nil, fmt.Errorf("grant %q of guest %q: %w", grant, name, err)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("grant %q of guest %q: %w", grant, name, err)
		}
		at := strings.NewReplacer("_", ".", "-", ".").Replace(grant)
		d.Guest.Grants = append(d.Guest.Grants, vm.Grant{Name: at, Port: uint16(port), Socket: socket(grant)})
	}
	return d, nil
}
