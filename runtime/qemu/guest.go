package qemu

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
)

// Machine is a kind of machine.
type Machine string

// Machines that guests can be given.
const (
	Microvm Machine = "microvm" // x86-64, without PCI and firmware: for kernels that are given
	Q35     Machine = "q35"     // x86-64, a PC
	PC      Machine = "pc"      // x86-64, an older one
	Virt    Machine = "virt"    // arm64
)

// isPC says that a machine has what PCs have.
func (m Machine) isPC() bool { return m == Q35 || m == PC }

// Arch returns the GOARCH of a machine's guests; "" for what is no machine.
func (m Machine) Arch() string {
	switch m {
	case Microvm, Q35, PC:
		return "amd64"
	case Virt:
		return "arm64"
	}
	return ""
}

// Source is a file that QEMU loads into a guest: a path, or an open file, which stays the caller's.
// None is given when both are zero.
type Source struct {
	Path string
	File *os.File
}

func (s Source) given() bool { return s.Path != "" || s.File != nil }

// Guest is the machine of a guest. All that QEMU is told comes from here, so there is nothing that a
// user could add to its arguments.
type Guest struct {
	Machine  Machine
	CPUs     int   // 1 to 255
	Memory   int64 // bytes, a multiple of MiB
	Kernel   Source
	Initrd   Source
	Append   string // what the kernel is told
	Firmware Source // "" is the machine's own
	Disks    []Disk
	Ports    []Port
	Network  *Network // nil: no card at all

	// DebugExit gives an x86-64 guest the device by which it ends QEMU with exit status
	// code<<1|1. It is at I/O port 0x501.
	DebugExit bool
	// NoEventIndex keeps virtio's event index from disks and cards, for guests that get it wrong.
	NoEventIndex bool
	NoACPI       bool // no tables of ACPI, on microvm and virt
	OneIOAPIC    bool // no second one, on microvm
	LowMemory    bool // everything below 4 GiB and interrupt controller version 2, on virt
	VGA          bool // a graphics card that nobody sees, on q35 and pc: some systems don't start without
}

// Format is how a disk is kept in a file.
type Format string

// Formats of disks.
const (
	Raw   Format = "raw"
	Qcow2 Format = "qcow2"
)

// Writing is what becomes of what a guest writes to a disk.
type Writing int

// Ways of writing.
const (
	ReadOnly Writing = iota // the guest can't write
	Discard                 // what it wrote is gone when the guest ends; the file is not touched
	Keep                    // the file is changed
)

// Bus is what a disk is attached to.
type Bus int

// Buses of disks.
const (
	VirtioBus Bus = iota
	SATA          // on q35, or IDE on pc, for systems that don't know virtio
)

// Disk is a disk of a guest.
type Disk struct {
	Path    string
	Format  Format
	Writing Writing
	Bus     Bus
}

// Channel is how a port or a forwarded address is reached from the host.
type Channel int

// Channels.
const (
	// Socket is one that Process.Dial connects to, one connection at a time. While there is none,
	// what the guest sends to a forwarded address is lost, and a port makes it wait.
	Socket Channel = iota
	// Pipes are a pair that stand while no supervisor is there, see Process.Pipe.
	Pipes
)

// Port is a virtio-serial port, which a Linux guest finds by its name in /sys/class/virtio-ports.
type Port struct {
	Name    string // lower-case letters, digits and dots
	Channel Channel
	First   []byte // what the guest is to read first, at most 4096 bytes; of Pipes only
}

// Card is a model of network card.
type Card string

// Cards.
const (
	VirtioCard Card = "virtio"
	E1000      Card = "e1000" // on q35 and pc, for systems that don't know virtio
)

// Network is a network in which nothing is reachable but the addresses that are forwarded, over TCP.
// The guest is 10.0.2.15/24 there, by DHCP too.
type Network struct {
	Card     Card
	Forwards []Forward
}

// Forward is an address in the guest's network whose bytes come out of a socket of that name.
// There is one stream for the life of the guest: that a connection of the guest ended, or another
// began, is not to be seen by the host.
type Forward struct {
	Name    string         // as of a port
	Address netip.AddrPort // in 10.0.2.0/24, not .2, .3 or .15
}

// least and most of a guest.
const (
	mib     = 1 << 20
	maxCPUs = 255
	maxWord = 2047 // of Append: the kernel's COMMAND_LINE_SIZE
)

func channelName() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9.]{0,30}$`) }

// Check returns an error for a machine that QEMU would not make, or not as it is meant.
func (g *Guest) Check() error {
	switch {
	case g.Machine.Arch() == "":
		return fmt.Errorf("%q is no machine: want microvm, q35, pc or virt", g.Machine)
	case g.CPUs < 1 || g.CPUs > maxCPUs:
		return fmt.Errorf("a guest has 1 to %d processors, not %d", maxCPUs, g.CPUs)
	case g.Memory < mib || g.Memory%mib != 0:
		return fmt.Errorf("a guest's memory is a multiple of 1 MiB, not %d bytes", g.Memory)
	case len(g.Append) > maxWord || strings.ContainsAny(g.Append, "\x00\n"):
		return fmt.Errorf("a kernel takes at most %d bytes in one line", maxWord)
	case g.Initrd.given() && !g.Kernel.given() || g.Append != "" && !g.Kernel.given():
		return errors.New("an initramfs and a kernel's arguments need a kernel")
	case g.DebugExit && g.Machine.Arch() != "amd64":
		return fmt.Errorf("%s has no debug exit", g.Machine)
	case !g.Machine.isPC() && g.VGA:
		return fmt.Errorf("%s has no graphics card", g.Machine)
	}
	if err := g.checkDisks(); err != nil {
		return err
	}
	return g.checkChannels()
}

func (g *Guest) checkDisks() error {
	for _, d := range g.Disks {
		switch {
		case d.Path == "":
			return errors.New("a disk has no path")
		case d.Format != Raw && d.Format != Qcow2:
			return fmt.Errorf("disk %q: %q is no format: want raw or qcow2", d.Path, d.Format)
		case d.Writing < ReadOnly || d.Writing > Keep:
			return fmt.Errorf("disk %q: no such way of writing", d.Path)
		case d.Bus != VirtioBus && (d.Bus != SATA || !g.Machine.isPC()):
			return fmt.Errorf("disk %q: %s has no such bus", d.Path, g.Machine)
		}
	}
	return nil
}

// maxFirst is what a pipe takes at once in any case.
const maxFirst = 4096

func (g *Guest) checkChannels() error {
	seen := map[string]bool{monitorName: true}
	name := func(name string) error {
		if !channelName().MatchString(name) || seen[name] {
			return fmt.Errorf("%q is no name for a port, or is there twice", name)
		}
		seen[name] = true
		return nil
	}
	for _, p := range g.Ports {
		if err := name(p.Name); err != nil {
			return err
		}
		if len(p.First) > maxFirst || len(p.First) > 0 && p.Channel != Pipes {
			return fmt.Errorf("port %q takes at most %d first bytes, from pipes", p.Name, maxFirst)
		}
	}
	if g.Network == nil {
		return nil
	}
	if g.Network.Card != VirtioCard && (g.Network.Card != E1000 || !g.Machine.isPC()) {
		return fmt.Errorf("%s has no network card %q", g.Machine, g.Network.Card)
	}
	used := map[netip.AddrPort]bool{}
	for _, f := range g.Network.Forwards {
		if err := name(f.Name); err != nil {
			return err
		}
		if err := checkAddress(f.Address); err != nil || used[f.Address] {
			return errors.Join(err, fmt.Errorf("address %s of %q can't be forwarded, or is there twice", f.Address, f.Name))
		}
		used[f.Address] = true
	}
	return nil
}

// checkAddress refuses addresses that the network has for itself.
func checkAddress(at netip.AddrPort) error {
	network := netip.MustParsePrefix("10.0.2.0/24")
	if !at.IsValid() || !network.Contains(at.Addr()) || at.Port() == 0 {
		return fmt.Errorf("%s is not in %s", at, network)
	}
	switch last := at.Addr().As4()[3]; last {
	case 0, 2, 3, 4, 15, 255:
		return fmt.Errorf("10.0.2.%d is the network's own", last)
	}
	return nil
}
