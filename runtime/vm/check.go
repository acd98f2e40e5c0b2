package vm

import (
	"fmt"
	"math"
	"runtime"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// Bounds of limits, in bytes and processors.
const (
	leastMemory = 96 << 20 // with less, Debian's kernel and a program in Go don't get to hello
	leastCPUs   = 0.01
	mostCPUs    = 64
	leastPIDs   = 8 // a Go program has about as many threads
	mib         = 1 << 20
)

// check refuses what cannot be had here.
func (h *host) check(spec driver.Spec) error {
	if err := checkSpec(spec); err != nil {
		return err
	}
	if spec.GPU {
		return &driver.RefusedError{Driver: Name, What: "the GPU", Why: "a guest has none of the machine's devices", Instead: "use in: process or in: container, or provider: cpu"}
	}
	if err := checkLimits(h.Host, spec.Limits, leastMemory); err != nil {
		return err
	}
	if pids := spec.Limits.PIDs; pids != 0 && pids < leastPIDs {
		return &driver.RefusedError{Driver: Name, What: fmt.Sprintf("a limit of %d processes and threads", pids), Why: "no program runs with so few", Instead: fmt.Sprintf("at least %d", leastPIDs)}
	}
	return nil
}

// checkLimits refuses limits of memory and processors. The machine's memory is a limit by itself, and
// so are whole processors; parts of one take a cgroup.
func checkLimits(on *qemu.Host, limits driver.Limits, least int64) error {
	if m := limits.Memory; m != 0 && m < least {
		return &driver.RefusedError{
			Driver: Name, What: fmt.Sprintf("a limit of %d bytes of memory", m), Why: "the guest's kernel is part of it, and no guest runs with so little",
			Instead: fmt.Sprintf("at least %dMiB, or use in: unikernel or in: process", least/mib),
		}
	}
	c := limits.CPUs
	refused := &driver.RefusedError{Driver: Name, What: fmt.Sprintf("a limit of %g processors", c)}
	switch {
	case c == 0:
	case !(c >= leastCPUs) || c > mostCPUs:
		refused.Why, refused.Instead = "no guest has so many, or gets on with so few", fmt.Sprintf("from %g to %d processors", leastCPUs, mostCPUs)
		return refused
	case c != math.Trunc(c) && on.Groups.Folders["cpu"] == "":
		refused.Why, refused.Instead = on.Missing.Why("cpu"), "leave it out, use whole processors, or run the supervisor as root or with a delegated cgroup"
		return refused
	}
	return nil
}

// sized returns the machine's memory and processors for limits.
func sized(limits driver.Limits) (memory int64, cpus int) {
	memory, cpus = DefaultMemory, runtime.NumCPU()
	if limits.Memory > 0 {
		memory = limits.Memory / mib * mib
	}
	if limits.CPUs > 0 {
		cpus = int(math.Ceil(limits.CPUs))
	}
	return memory, min(cpus, mostCPUs)
}
