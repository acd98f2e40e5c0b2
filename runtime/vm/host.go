package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/qemu"
	"sightline/runtime/vm/order"
)

// stageUID is the user of a stage in its guest, of which there is one in each.
const stageUID = 1000

// host is what a guest of a stage is made of here.
type host struct {
	*qemu.Host
	machine       qemu.Machine
	kernel        *os.File
	kernelVersion string
	initramfs     *os.File
	tried         bool // a guest has booted
}

// explore finds all that guests take. Where there is more than one way for them it boots one in each,
// the best first, until one boots.
func (d *Driver) explore(ctx context.Context) (*host, error) {
	e, err := qemu.Find(ctx, d.arch(), d.Accelerator)
	if err != nil {
		return nil, err
	}
	among := ways(e.Emulator, d.machine, d.Accelerator)
	var errs []error
	for _, w := range among {
		with := *e
		with.Emulator = w.emulator
		if len(errs) > 0 && !w.emulator.KVM {
			with.Emulator = w.emulator.Translating(fmt.Sprintf("/dev/kvm: %v", errs[0]))
		}
		h := &host{Host: &with, machine: w.machine}
		if err := h.assemble(d); err != nil {
			return nil, err
		}
		if len(among) == 1 {
			return h, nil
		}
		if err = h.try(ctx); err == nil {
			h.tried = true
			return h, nil
		}
		errs = append(errs, errors.Join(fmt.Errorf("%s: %w", w.machine, err), h.kernel.Close(), h.initramfs.Close()))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// way is what guests may run on.
type way struct {
	machine  qemu.Machine
	emulator *qemu.Emulator
}

// ways are all, the best first. A translated microvm has no clock that Linux could count on: under
// load, calibrating the processor's own against the only timer goes wrong, and the guest stands
// still before it has begun.
func ways(e *qemu.Emulator, only qemu.Machine, accelerator string) []way {
	plain := e
	if e.KVM {
		plain = e.Translating("not tried")
	}
	all := []way{{qemu.Microvm, e}, {qemu.Q35, e}, {qemu.Q35, plain}}
	if e.Arch == "arm64" {
		all = []way{{qemu.Virt, e}, {qemu.Virt, plain}}
	}
	var some []way
	for _, w := range all {
		if only != "" {
			w.machine = only
		} else if w.machine == qemu.Microvm && !w.emulator.KVM {
			continue
		}
		if accelerator == qemu.OnlyKVM && !w.emulator.KVM {
			continue
		}
		if !slices.Contains(some, w) {
			some = append(some, w)
		}
	}
	return some
}

// assemble opens the kernel and makes the initramfs.
func (h *host) assemble(d *Driver) error {
	k, err := findKernel(d.Kernel, d.Modules, h.Emulator.Arch)
	if err != nil {
		return err
	}
	name := d.Init
	if name == "" {
		if name, err = initBeside(h.Emulator.Arch); err != nil {
			return err
		}
	}
	init, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("the guests' init: %w (it is built by make build)", err)
	}
	modules, err := k.load(wantedModules(h.machine)...)
	if err != nil {
		return err
	}
	h.kernelVersion = k.version
	if h.kernel, err = os.Open(k.path); err != nil {
		return fmt.Errorf("the guests' kernel: %w", err)
	}
	if h.initramfs, err = qemu.Sealed("initramfs", initramfs(init, modules)); err != nil {
		return errors.Join(err, h.kernel.Close())
	}
	return nil
}

// guest returns the machine for an order, without disks.
func (h *host) guest(o order.Order, limits driver.Limits) (*qemu.Guest, error) {
	line, err := o.Encode()
	if err != nil {
		return nil, err
	}
	memory, cpus := sized(limits)
	return &qemu.Guest{
		Machine: h.machine, CPUs: cpus, Memory: memory,
		Kernel: qemu.Source{File: h.kernel}, Initrd: qemu.Source{File: h.initramfs}, Append: h.words(),
		Ports: []qemu.Port{
			{Name: order.InitPort, Channel: qemu.Pipes, First: line},
			{Name: order.LogPort, Channel: qemu.Pipes},
			{Name: order.StagePort},
		},
	}, nil
}

// words are what the kernel is told: where to print, to print little, and to end when it panics; and
// not to look for what a guest doesn't have. The clock of a guest with several processors is not to
// be doubted. Where the guest is translated there is nothing to mitigate of a processor's mistakes.
func (h *host) words() string {
	words := []string{"quiet", "panic=-1", "oops=panic", "cryptomgr.notests"}
	if h.Emulator.Arch == "arm64" {
		words = append(words, "console=ttyAMA0")
	} else {
		words = append(words, "console=ttyS0", "8250.nr_uarts=1", "tsc=reliable", "no_timer_check", "edd=off", "reboot=t")
	}
	if !h.Emulator.KVM {
		words = append(words, "mitigations=off")
		if rate := hostTSC(); h.Emulator.Arch == "amd64" && rate > 0 {
			words = append(words, fmt.Sprintf("tsc_early_khz=%d", rate))
		}
	}
	return strings.Join(words, " ")
}

// probePatience is how long a guest may take to boot, most of it where it is translated.
const probePatience = 2 * time.Minute

// try boots a guest up to its init.
func (h *host) try(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	dir, err := os.MkdirTemp("", cgroup.ProbeName()+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, err := h.guest(order.Order{Trial: true, Program: []string{"/"}, UID: stageUID}, driver.Limits{Memory: leastMemory, CPUs: 1})
	if err != nil {
		return err
	}
	said := new(strings.Builder)
	p, err := qemu.Start(ctx, qemu.Launch{ID: trialID(), Dir: dir, Emulator: h.Emulator, Guest: *g, Log: &shared{w: said}})
	if err != nil {
		return fmt.Errorf("boot a guest: %w", err)
	}
	b := run(p, driver.Spec{Log: said}, &shared{w: said})
	select {
	case <-b.done:
	case <-ctx.Done():
		_ = p.Kill() // may have ended
		<-b.done
		return fmt.Errorf("boot a guest: not there after %v; it said %q", probePatience, p.End().Said)
	}
	if exit := b.Exit(); exit.Code != 0 {
		return fmt.Errorf("boot a guest: %s; it said %q", exit, p.End().Said)
	}
	return nil
}

// trialID is the ID of a guest that is only tried.
func trialID() string { return fmt.Sprintf("probe-%s-%d", runtime.GOARCH, os.Getpid()) }
