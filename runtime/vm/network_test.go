package vm

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sightline/runtime/qemu"
)

// answering listens and answers each line with what it is.
func answering(t *testing.T, network, address, is string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if _, err := fmt.Fprintln(conn, is); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l
}

// netGuest is a Linux guest that tries to reach the targets, each network/address.
func netGuest(t *testing.T, on *qemu.Host, targets []string) qemu.Guest {
	t.Helper()
	d := driverFor(on.Emulator.Arch)
	k, err := findKernel(d.Kernel, d.Modules, on.Emulator.Arch)
	if err != nil {
		t.Skip(err)
	}
	program := filepath.Join(t.TempDir(), "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, "./testdata/netinit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOARCH="+on.Emulator.Arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	init, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := k.load("virtio_pci", "virtio_net")
	if err != nil {
		t.Fatal(err)
	}
	file, err := qemu.Sealed("initramfs", initramfs(init, modules, entry{path: "targets", mode: fileMode, data: []byte(strings.Join(targets, "\n"))}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	h := &host{Host: on}
	return qemu.Guest{
		Machine: ways(on.Emulator, qemu.Q35, "")[0].machine, CPUs: 1, Memory: 128 << 20,
		Kernel: qemu.Source{Path: k.path}, Initrd: qemu.Source{File: file}, Append: h.words(),
	}
}

func TestAGuestReachesItsGrantsAndNothingElse(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the machine of this test is q35")
	}
	on, err := qemu.Find(t.Context(), "amd64", "")
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	granted := answering(t, "unix", filepath.Join(dir, "granted.sock"), "granted")
	local := answering(t, "tcp4", "127.0.0.1:0", "this machine")
	all := answering(t, "tcp4", "0.0.0.0:0", "this machine")
	targets := []string{
		"tcp/10.0.2.100:1883", "tcp/10.0.2.100:1884", "tcp/10.0.2.101:1883",
		"tcp/10.0.2.2:" + port(local), "tcp/10.0.2.2:" + port(all), "tcp/127.0.0.1:" + port(local), "tcp/192.0.2.1:80",
		"udp/10.0.2.3:53", "tcp/10.0.2.3:53", "udp/10.0.2.2:69", "tcp/10.0.2.4:139", "tcp/[fec0::2]:" + port(all),
	}
	for _, address := range ownAddresses(t) {
		targets = append(targets, "tcp/"+net.JoinHostPort(address, port(all)))
	}
	g := netGuest(t, on, targets)
	g.Network = &qemu.Network{Card: qemu.VirtioCard, Forwards: []qemu.Forward{{Name: "broker", Address: netip.MustParseAddrPort("10.0.2.100:1883")}}}
	log := newLines()
	p, err := qemu.Start(t.Context(), qemu.Launch{ID: "network-test", Dir: dir, Emulator: on.Emulator, Guest: g, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill(); <-p.Done() })
	go p.CarryPlain(t.Context(), "broker", granted.Addr().String())
	select {
	case <-p.Done():
	case <-time.After(2 * time.Minute):
		t.Error("the guest doesn't end")
	}
	text := log.String()
	for i, target := range targets {
		answers := "granted"
		switch {
		case strings.HasSuffix(target, ":69"):
			answers = "Access violation" // of QEMU's own TFTP, which has no file
		case i > 0:
			answers = ""
		}
		said := "netinit: " + target + " answers"
		if got := strings.Contains(text, said); got != (answers != "") || got && !strings.Contains(text, said+" "+answers+"\n") {
			t.Errorf("of %s is not to be said what is in\n%s", target, text)
		}
	}
	if !strings.Contains(text, "netinit: done\n") {
		t.Errorf("the guest was not done:\n%s", text)
	}
}

func port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func ownAddresses(t *testing.T) (addresses []string) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			addresses = append(addresses, n.IP.String())
		}
	}
	return addresses
}
