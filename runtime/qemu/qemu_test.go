package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/runtime/landlock"
	"sightline/runtime/outlive"
)

// emulator finds QEMU, or skips with the reason.
func emulator(t *testing.T, arch string) *Emulator {
	t.Helper()
	e, err := findEmulator(t.Context(), arch, "")
	if err != nil {
		t.Skip(err)
	}
	return e
}

func TestQEMUIsFoundAndTried(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			begin := time.Now()
			e := emulator(t, arch)
			t.Logf("%s in %v", e, time.Since(begin))
			if e.Landlock != landlock.Version() {
				t.Errorf("not kept to its files: %s", e.Unlocked)
			}
			if !strings.HasPrefix(e.String(), "QEMU ") || e.KVM != (e.Why == "") {
				t.Errorf("%+v", e)
			}
		})
	}
	if _, err := findEmulator(t.Context(), "riscv64", ""); err == nil {
		t.Error("there are guests for riscv64")
	}
}

// room is a folder for a guest.
func room(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// idle is a guest whose firmware does nothing.
func idle(t *testing.T) Guest {
	t.Helper()
	firmware := make([]byte, firmwareSize)
	copy(firmware[firmwareSize-16:], []byte{0xfa, 0xf4, 0xeb, 0xfd}) // cli; hlt; jmp .-1
	file, err := Sealed("idle", firmware)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return Guest{Machine: Microvm, CPUs: 1, Memory: 16 << 20, Firmware: Source{File: file}}
}

func TestAGuestIsStartedAndQuits(t *testing.T) {
	dir := room(t)
	g := idle(t)
	g.Ports = []Port{{Name: "stage.0"}, {Name: "log.0", Channel: Pipes}}
	p, err := Start(t.Context(), Launch{ID: "qemu-test", Dir: dir, Emulator: emulator(t, "amd64"), Guest: g, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	if running, err := p.Running(t.Context()); err != nil || !running {
		t.Errorf("running: %v, %v", running, err)
	}
	checkConfined(t, p)
	conn, err := p.Dial(t.Context(), "stage.0")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if usage, err := p.Sample(context.Background()); err != nil || usage.Memory < 1<<20 {
		t.Errorf("%+v, %v", usage, err)
	}
	if err := p.Quit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if end := p.End(); end.Exit.Code != 0 || end.Cause != "host-qmp-quit" || end.Exit.Reason != "" {
		t.Errorf("%+v", end)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left: %v (%v)", entries, err)
	}
}

// checkConfined looks at what the kernel says of QEMU.
func checkConfined(t *testing.T, p *Process) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	wants := []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"}
	if os.Geteuid() == 0 {
		uid := outlive.UserOf(p.ID())
		wants = append(wants, "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid), "Groups:\t \n")
	}
	for _, want := range wants {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q is not in\n%s", want, status)
		}
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID())); err == nil && string(env) != "TMPDIR="+overlayRoom+"\x00" {
		t.Errorf("its environment is %q", env)
	}
}

func TestQEMUReadsNoFileThatItWasNotHanded(t *testing.T) {
	e := emulator(t, "amd64")
	if e.Landlock == 0 {
		t.Skip(e.Unlocked)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, make([]byte, 512), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-drive", "if=none,id=d,format=raw,readonly=on,file=" + secret},
		{"-device", "loader,file=" + secret + ",addr=0"},
	} {
		a := &arguments{}
		g := idle(t)
		a.common("reader", e, &g)
		a.add(args...)
		l := &launch{emulator: e, arguments: a}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		code, said, err := l.run(ctx)
		if err != nil || code != 1 || !strings.Contains(said, "secret") {
			t.Errorf("%q: status %d, %v, %s", args, code, err, said)
		}
		e.Landlock = 0 // to see that it is what holds
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if code, said, err := l.run(ctx); err == nil {
			t.Errorf("%q ends without Landlock too: status %d, %s", args, code, said)
		}
		e.Landlock = landlock.Version()
	}
}
