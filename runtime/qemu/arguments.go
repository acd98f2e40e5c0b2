package qemu

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// arguments puts together what QEMU is started with. Files are handed over open, so that a QEMU
// with a user of its own needs no way to them.
type arguments struct {
	words []string
	files []*os.File // from descriptor firstFile

	loaded []*os.File // those that QEMU opens once more
}

// firstFile is the descriptor of the first file that is handed over; lockFD is before it.
const (
	lockFD    = 3
	firstFile = 4
)

func (a *arguments) add(words ...string) { a.words = append(a.words, words...) }

// pass hands a file over and returns its descriptor in QEMU.
func (a *arguments) pass(f *os.File) int {
	a.files = append(a.files, f)
	return firstFile + len(a.files) - 1
}

// option joins a value and key=value pairs. A comma in one is doubled (QEMU's manual, "Device URL
// Syntax" and -help: "use ,, for a comma").
func option(first string, pairs ...any) string {
	var b strings.Builder
	b.WriteString(escape(first))
	for i := 0; i+1 < len(pairs); i += 2 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%s", pairs[i], escape(fmt.Sprint(pairs[i+1])))
	}
	return b.String()
}

func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// identity turns a channel's name into an ID of QEMU's.
func identity(name string) string { return "c-" + strings.ReplaceAll(name, ".", "-") }

// common are the arguments of every guest.
func (a *arguments) common(id string, e *Emulator, g *Guest) {
	a.add("-name", option("", "guest", id))
	a.add("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")
	a.add("-sandbox", option("on", "obsolete", "deny", "elevateprivileges", "deny", "spawn", "deny", "resourcecontrol", "deny"))
	a.add("-machine", g.machine())
	a.add("-accel", e.accelerator())
	a.add("-cpu", "max")
	a.add("-smp", strconv.Itoa(g.CPUs))
	a.add("-m", option("", "size", fmt.Sprintf("%dM", g.Memory/mib)))
	a.add("-chardev", option("stdio", "id", "console", "signal", "off"), "-serial", "chardev:console")
	if g.DebugExit {
		a.add("-device", option("isa-debug-exit", "iobase", "0x501", "iosize", "0x2"))
	}
	if g.VGA {
		a.add("-device", "VGA")
	}
}

func (g *Guest) machine() string {
	pairs := []any{"dump-guest-core", "off"}
	switch g.Machine {
	case Microvm:
		pairs = append(pairs, "rtc", "on")
		if g.OneIOAPIC {
			pairs = append(pairs, "ioapic2", "off")
		}
	case Virt:
		if g.LowMemory {
			pairs = append(pairs, "gic-version", "2", "highmem", "off")
		}
	}
	if g.NoACPI {
		pairs = append(pairs, "acpi", "off")
	}
	return option(string(g.Machine), pairs...)
}

// virtio returns the name of a virtio device on the machine's bus.
func (g *Guest) virtio(device string) string {
	if g.Machine == Microvm {
		return device + "-device"
	}
	return device + "-pci"
}

func (a *arguments) global(g *Guest) {
	if g.Machine == Microvm {
		a.add("-global", "virtio-mmio.force-legacy=false")
	}
}

// disk attaches a disk whose file is open: for reading, as QEMU looks at each before it uses it, and
// for both if it is to be kept.
func (a *arguments) disk(g *Guest, number int, d Disk, files ...*os.File) {
	set := number + 1
	for _, f := range files {
		a.add("-add-fd", option("", "fd", a.pass(f), "set", set))
	}
	id := fmt.Sprintf("disk%d", number)
	pairs := []any{"if", "none", "id", id, "format", d.Format, "file", fmt.Sprintf("/dev/fdset/%d", set)}
	switch d.Writing {
	case ReadOnly:
		pairs = append(pairs, "readonly", "on")
	case Discard:
		pairs = append(pairs, "snapshot", "on")
	}
	a.add("-drive", option("", pairs...))
	if d.Bus == SATA {
		a.add("-device", option("ide-hd", "drive", id, "bus", fmt.Sprintf("ide.%d", number)))
		return
	}
	device := []any{"drive", id}
	if g.NoEventIndex {
		device = append(device, "event_idx", "off")
	}
	a.add("-device", option(g.virtio("virtio-blk"), device...))
}

// channel makes the character device of a channel; listener is of a Socket.
func (a *arguments) channel(name string, channel Channel, listener *os.File) {
	if channel == Pipes {
		a.add("-chardev", option("pipe", "id", identity(name), "path", name))
		return
	}
	a.add("-chardev", option("socket", "id", identity(name), "fd", a.pass(listener), "server", "on", "wait", "off"))
}

func (a *arguments) ports(g *Guest) {
	if len(g.Ports) == 0 {
		return
	}
	a.add("-device", option(g.virtio("virtio-serial"), "id", "ports"))
	for i, p := range g.Ports {
		a.add("-device", option("virtserialport", "bus", "ports.0", "nr", i+1, "chardev", identity(p.Name), "name", p.Name))
	}
}

func (a *arguments) network(g *Guest) {
	if g.Network == nil {
		return
	}
	user := []any{"id", "net", "restrict", "on", "ipv6", "off"}
	for _, f := range g.Network.Forwards {
		user = append(user, "guestfwd", fmt.Sprintf("tcp:%s-chardev:%s", f.Address, identity(f.Name)))
	}
	a.add("-netdev", option("user", user...))
	if g.Network.Card == E1000 {
		a.add("-device", option("e1000", "netdev", "net", "romfile", ""))
		return
	}
	card := []any{"netdev", "net"}
	if g.NoEventIndex {
		card = append(card, "event_idx", "off")
	}
	if g.Machine != Microvm {
		card = append(card, "romfile", "")
	}
	a.add("-device", option(g.virtio("virtio-net"), card...))
}

// load has QEMU load a file. It opens it by itself, so it must be one that its user may read.
func (a *arguments) load(flag string, f *os.File) {
	a.loaded = append(a.loaded, f)
	a.add(flag, fmt.Sprintf("/proc/self/fd/%d", a.pass(f)))
}
