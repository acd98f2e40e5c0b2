package vm

import (
	"fmt"
	"os"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// machineFor returns the machine of the guest, no larger than limits.
func (d *GuestDriver) machineFor(limits driver.Limits) (*qemu.Guest, error) {
	g := &qemu.Guest{Machine: d.machine(), CPUs: max(d.Guest.CPUs, 1), Memory: d.Guest.Memory / mib * mib, Kernel: d.kernel, Initrd: d.initrd, Append: d.words}
	if g.Memory == 0 {
		g.Memory = DefaultGuestMemory
	}
	if limits.Memory > 0 {
		g.Memory = min(g.Memory, limits.Memory/mib*mib)
	}
	if _, cpus := sized(limits); limits.CPUs > 0 {
		g.CPUs = min(g.CPUs, cpus)
	}
	disk := qemu.Disk{Path: d.Guest.Disk, Format: d.Guest.Format, Writing: qemu.Keep}
	if d.Guest.Snapshot {
		disk.Writing = qemu.Discard
	}
	card := qemu.VirtioCard
	if g.Machine != qemu.Virt { // what every system for PCs knows
		disk.Bus, card, g.VGA = qemu.SATA, qemu.E1000, true
	}
	g.Disks = []qemu.Disk{disk}
	if err := d.firmware(g); err != nil {
		return nil, err
	}
	return g, d.network(g, card)
}

// efi is where the package qemu-efi-aarch64 has it.
const efi = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"

func (d *GuestDriver) firmware(g *qemu.Guest) error {
	g.Firmware.Path = d.Guest.Firmware
	if g.Machine != qemu.Virt || g.Firmware.Path != "" || d.kernel.File != nil {
		return nil
	}
	if _, err := os.Stat(efi); err != nil {
		return fmt.Errorf("a guest on virt starts from a firmware: %w (install the package qemu-efi-aarch64, or name one)", err)
	}
	g.Firmware.Path = efi
	return nil
}

func (d *GuestDriver) network(g *qemu.Guest, card qemu.Card) error {
	if len(d.Guest.Grants) > maxGrants {
		return fmt.Errorf("%d grants are more than %d", len(d.Guest.Grants), maxGrants)
	}
	if len(d.Guest.Grants) > 0 {
		g.Network = &qemu.Network{Card: card}
	}
	for i, grant := range d.Guest.Grants {
		if grant.Socket == "" {
			return fmt.Errorf("grant %q has no socket", grant.Name)
		}
		g.Network.Forwards = append(g.Network.Forwards, qemu.Forward{Name: grant.Name, Address: address(i, grant.Port)})
	}
	return g.Check()
}
