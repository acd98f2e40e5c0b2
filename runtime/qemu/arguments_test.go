package qemu

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestACommaInAValueIsNoSeparator(t *testing.T) {
	if got := option("", "guest", "a,b=c", "file", ",,"); got != "guest=a,,b=c,file=,,,," {
		t.Error(got)
	}
	if got := option("on", "spawn", "deny"); got != "on,spawn=deny" {
		t.Error(got)
	}
}

// whole is a guest with all that there is.
func whole() Guest {
	return Guest{
		Machine: Q35, CPUs: 2, Memory: 64 << 20, DebugExit: true, VGA: true, NoEventIndex: true,
		Disks:   []Disk{{Path: "/a,readonly=off", Format: Raw}, {Path: "/b", Format: Qcow2, Writing: Discard, Bus: SATA}},
		Ports:   []Port{{Name: "stage.0"}, {Name: "init.0", Channel: Pipes, First: []byte("x")}},
		Network: &Network{Card: VirtioCard, Forwards: []Forward{{"wire", netip.MustParseAddrPort("10.0.2.100:7777")}}},
	}
}

func TestAGuestIsKeptInByItsArguments(t *testing.T) {
	g := whole()
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	a := &arguments{}
	a.common("gate-1", &Emulator{Arch: "amd64"}, &g)
	for i, d := range g.Disks {
		a.disk(&g, i, d, os.Stdin)
	}
	for _, name := range []string{"stage.0", "wire"} {
		a.channel(name, Socket, os.Stdin)
	}
	a.channel("init.0", Pipes, nil)
	a.ports(&g)
	a.network(&g)
	got := strings.Join(a.words, " ") + " "
	for _, want := range []string{
		"-nodefaults ", "-no-user-config ", "-no-reboot ", "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny ",
		"-drive if=none,id=disk0,format=raw,file=/dev/fdset/1,readonly=on ", "-drive if=none,id=disk1,format=qcow2,file=/dev/fdset/2,snapshot=on ",
		"-device virtio-blk-pci,drive=disk0,event_idx=off ", "-device ide-hd,drive=disk1,bus=ide.1 ",
		"-netdev user,id=net,restrict=on,ipv6=off,guestfwd=tcp:10.0.2.100:7777-chardev:c-wire ", "-device virtio-net-pci,netdev=net,event_idx=off,romfile= ",
		"-device virtserialport,bus=ports.0,nr=1,chardev=c-stage-0,name=stage.0 ", "server=on,wait=off ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if strings.Contains(got, "/a") {
		t.Errorf("a path is in %q", got)
	}
}

func TestMachinesThatQEMUWouldMakeOtherwiseAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Guest){
		"no machine":                 func(g *Guest) { g.Machine = "q35,accel=kvm" },
		"no processor":               func(g *Guest) { g.CPUs = 0 },
		"too many processors":        func(g *Guest) { g.CPUs = 256 },
		"memory of odd size":         func(g *Guest) { g.Memory++ },
		"an initramfs alone":         func(g *Guest) { g.Initrd.Path = "/i" },
		"arguments of no kernel":     func(g *Guest) { g.Append = "quiet" },
		"two lines":                  func(g *Guest) { g.Kernel.Path, g.Append = "/k", "a\nb" },
		"too many words":             func(g *Guest) { g.Kernel.Path, g.Append = "/k", strings.Repeat("a ", 1100) },
		"a disk of no format":        func(g *Guest) { g.Disks[0].Format = "vvfat" },
		"a disk without path":        func(g *Guest) { g.Disks[0].Path = "" },
		"a disk of no bus":           func(g *Guest) { g.Disks[0].Bus = 7 },
		"SATA on microvm":            func(g *Guest) { g.Machine, g.VGA = Microvm, false },
		"a graphics card on microvm": func(g *Guest) { g.Machine, g.Disks = Microvm, nil },
		"debug exit on virt":         func(g *Guest) { g.Machine, g.VGA, g.Disks = Virt, false, nil },
		"a port with a comma":        func(g *Guest) { g.Ports[0].Name = "a,b" },
		"a port that leaves":         func(g *Guest) { g.Ports[0].Name = "../a" },
		"a port twice":               func(g *Guest) { g.Ports[0].Name = g.Ports[1].Name },
		"a port of the monitor":      func(g *Guest) { g.Ports[0].Name = monitorName },
		"first bytes into a socket":  func(g *Guest) { g.Ports[0].First = []byte("x") },
		"too many first bytes":       func(g *Guest) { g.Ports[1].First = make([]byte, maxFirst+1) },
		"no such card":               func(g *Guest) { g.Network.Card = "tap,ifname=a" },
		"an address outside":         func(g *Guest) { g.Network.Forwards[0].Address = netip.MustParseAddrPort("192.0.2.1:80") },
		"the address of the host":    func(g *Guest) { g.Network.Forwards[0].Address = netip.MustParseAddrPort("10.0.2.2:80") },
		"an address of IPv6":         func(g *Guest) { g.Network.Forwards[0].Address = netip.MustParseAddrPort("[fec0::2]:80") },
		"no port":                    func(g *Guest) { g.Network.Forwards[0].Address = netip.MustParseAddrPort("10.0.2.100:0") },
		"an address twice": func(g *Guest) {
			g.Network.Forwards = append(g.Network.Forwards, Forward{"other", g.Network.Forwards[0].Address})
		},
	} {
		g := whole()
		change(&g)
		if err := g.Check(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
