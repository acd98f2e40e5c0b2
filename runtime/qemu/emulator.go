package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/landlock"
	"sightline/runtime/outlive"
)

// Emulator is a QEMU that was found and tried.
type Emulator struct {
	Arch    string // GOARCH of its guests
	Program string // its path
	Version string // "7.2.22"
	KVM     bool   // guests run on the processor itself; else they are translated (TCG)
	Why     string // why there is no KVM

	// Landlock is the version by which QEMU is kept to its files; 0 is not at all, for the reason Unlocked.
	Landlock int
	Unlocked string
}

// String says it for people: "QEMU 7.2.22 (TCG: /dev/kvm: …)".
func (e *Emulator) String() string {
	if e.KVM {
		return "QEMU " + e.Version + " (KVM)"
	}
	return fmt.Sprintf("QEMU %s (TCG: %s)", e.Version, e.Why)
}

// What executes a guest, in the words of a pipeline file.
const (
	AutoAccelerator = "auto"
	OnlyKVM         = "kvm"
	OnlyTCG         = "tcg"
)

// Translating returns the same QEMU without KVM, and says why.
func (e *Emulator) Translating(why string) *Emulator {
	t := *e
	t.KVM, t.Why = false, why
	return &t
}

// translated is how much memory QEMU keeps translated code in, in MiB. Its default is up to a gigabyte.
const translated = 64

// Overhead is what QEMU takes at most besides the memory of its guest, in bytes.
const Overhead = (translated + 128) << 20

func (e *Emulator) accelerator() string {
	if e.KVM {
		return "kvm"
	}
	return option("tcg", "tb-size", translated)
}

const kvmDevice = "/dev/kvm"

// groups returns the groups that QEMU with a user of its own needs.
func (e *Emulator) groups() []int {
	var info unix.Stat_t
	if !e.KVM || unix.Stat(kvmDevice, &info) != nil || info.Gid == 0 || info.Mode&0o060 != 0o060 {
		return nil
	}
	return []int{int(info.Gid)}
}

// programOf returns the program of QEMU and the package of Debian and Ubuntu that it is in.
func programOf(arch string) (program, packaged string, err error) {
	switch arch {
	case "amd64":
		return "qemu-system-x86_64", "qemu-system-x86", nil
	case "arm64":
		return "qemu-system-aarch64", "qemu-system-arm", nil
	}
	return "", "", fmt.Errorf("there are no guests for %q, only for amd64 and arm64", arch)
}

// findEmulator tries QEMU with a guest of a few instructions: first under KVM, where a machine may have
// the device though no guest ever gets on under it, then without; or only as accelerator says.
func findEmulator(ctx context.Context, arch, accelerator string) (*Emulator, error) {
	name, packaged, err := programOf(arch)
	if err != nil {
		return nil, err
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed: install the package %s", name, packaged)
	}
	e := &Emulator{Arch: arch, Program: program, Landlock: landlock.Version()}
	if e.Landlock == 0 {
		e.Unlocked = "the kernel doesn't have it (Linux 5.13 or later, CONFIG_SECURITY_LANDLOCK)"
	}
	if e.Version, err = version(ctx, program); err != nil {
		return nil, err
	}
	switch accelerator {
	case "", AutoAccelerator, OnlyKVM:
		e.Why = e.tryKVM(ctx)
	case OnlyTCG:
		e.Why = "as the configuration says"
	default:
		return nil, fmt.Errorf("there is no accelerator %q: want auto, kvm or tcg", accelerator)
	}
	if e.Why == "" {
		e.KVM = true
		return e, nil
	}
	if accelerator == OnlyKVM {
		return nil, fmt.Errorf("no guest runs under KVM, which the configuration asks for: %s", e.Why)
	}
	if err := e.tryTCG(ctx); err != nil {
		return nil, fmt.Errorf("%s runs no guest: %w", program, err)
	}
	return e, nil
}

// tcgPatience is how long a guest of some instructions may take where it is translated.
const tcgPatience = 30 * time.Second

// tryTCG tries without KVM; and, if QEMU lies where it can't be confined to its files, unconfined.
func (e *Emulator) tryTCG(ctx context.Context) error {
	err := e.try(ctx, tcgPatience)
	if err == nil || e.Landlock == 0 || ctx.Err() != nil {
		return err
	}
	confined := err
	e.Landlock = 0
	if err := e.try(ctx, tcgPatience); err != nil {
		return err
	}
	e.Unlocked = fmt.Sprintf("QEMU doesn't run so: %v", confined)
	return nil
}

func versionLine() *regexp.Regexp {
	return regexp.MustCompile(`^QEMU emulator version ([0-9]+\.[0-9]+(?:\.[0-9]+)?)`)
}

func version(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	found := versionLine().FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("ask %s for its version: it says %.80q", program, out)
	}
	return string(found[1]), nil
}

// kvmPatience is how long a guest of some instructions may take under KVM: it takes milliseconds.
const kvmPatience = 5 * time.Second

// tryKVM returns why guests can't run under KVM; "" when they can.
func (e *Emulator) tryKVM(ctx context.Context) string {
	if e.Arch != runtime.GOARCH {
		return "its guests are of another architecture"
	}
	if _, err := os.Stat(kvmDevice); err != nil {
		return kvmDevice + " is not there"
	}
	with := *e
	with.KVM = true
	err := with.try(ctx, kvmPatience)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Sprintf("%s is there, but a guest hung under it for %v", kvmDevice, kvmPatience)
	}
	if err != nil {
		return fmt.Sprintf("%s: %v", kvmDevice, err)
	}
	return ""
}

// try runs the probe guest.
func (e *Emulator) try(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	firmware, machine, want := probeGuest(e.Arch)
	file, err := Sealed("probe", firmware)
	if err != nil {
		return err
	}
	defer file.Close()
	g := &Guest{Machine: machine, CPUs: 1, Memory: 16 * mib, DebugExit: machine.Arch() == "amd64"}
	a := &arguments{}
	a.common("probe", e, g)
	a.load("-bios", file)
	l := &launch{emulator: e, arguments: a}
	if os.Geteuid() == 0 {
		l.uid = outlive.UserOf("probe")
	}
	code, output, err := l.run(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case code != want:
		return fmt.Errorf("a guest ended with status %d, not %d: %s", code, want, strings.Join(strings.Fields(output), " "))
	}
	return nil
}

// run runs QEMU to its end, which is forced when ctx is done.
func (l *launch) run(ctx context.Context) (code int, output string, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, "", err
	}
	defer reader.Close()
	l.log = writer
	child, err := l.fork()
	writer.Close()
	if err != nil {
		return 0, "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = child.Kill() })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(reader, 4096)) // what says more is killed for it, by ctx
	if err != nil {
		_ = child.Kill() // may have ended
	}
	state, err := child.Wait()
	if err != nil {
		return 0, "", err
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 0, "", fmt.Errorf("QEMU was killed by %s: %s", unix.SignalName(status.Signal()), text)
	}
	return status.ExitStatus(), string(text), nil
}
