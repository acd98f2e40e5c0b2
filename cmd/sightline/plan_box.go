package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/pipeline"
	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/unikernel"
	"sightline/runtime/vm"
)

// planFolder stands for the folder of a box, which a plan does not make.
const planFolder = "/run/sightline/plan"

// box says in what the stage runs, of which files it consists, what protects it, and what its driver
// would refuse.
func (p *planner) box(ctx context.Context) {
	p.gpu = false
	kind := p.pipeline.BoxOf(p.stage)
	if kind == configs.Inline {
		p.line("box", "inline")
		return
	}
	d, well := p.driver(ctx, kind)
	s, err := p.builder.Compute(p.pipeline, p.stage)
	if err != nil {
		p.problem(err)
	} else {
		p.line("closure", "%s in %s, sha256:%s", humanSize(s.Closure.Manifest.Size()), fileCount(s.Closure.Manifest), s.Digest)
		for _, note := range s.Notes {
			p.line("note", "%s", note)
		}
		if p.gpu = s.GPU; p.gpu {
			p.line("gpu", "given to the box")
		}
	}
	limits := closures.Limits(p.pipeline, p.stage)
	p.line("limits", "%s", boxLimits(kind, limits))
	if well && s != nil {
		p.check(d, driver.Spec{Limits: limits, GPU: s.GPU, Files: s.Files()})
	}
	p.protection(kind)
}

// driver returns the driver of a kind of boxes, and whether it works here.
func (p *planner) driver(ctx context.Context, kind string) (driver.Driver, bool) {
	d := p.drivers[kind]
	if d == nil {
		p.line("box", "%s", kind)
		p.problem(fmt.Errorf("this program has no %s boxes (write in: %s)", kind, strings.Join(slices.Sorted(maps.Keys(p.drivers)), ", ")))
		return nil, false
	}
	probe, asked := p.probes[kind]
	if !asked {
		probe = d.Probe(ctx)
		p.probes[kind] = probe
	}
	if probe.Err != nil {
		p.line("box", "%s", kind)
		p.problem(probe.Err)
		return d, false
	}
	p.line("box", "%s: %s", kind, probe.Engine)
	return d, true
}

// check tells what the driver would refuse.
func (p *planner) check(d driver.Driver, spec driver.Spec) {
	checker, ok := d.(driver.Checker)
	if !ok {
		return
	}
	spec.ID, spec.Stage, spec.Program = "plan-"+strings.ReplaceAll(p.stage, "_", "-"), p.stage, []string{closure.ProgramPath}
	spec.ID = strings.TrimRight(spec.ID[:min(len(spec.ID), 63)], "-")
	spec.Dir, spec.Socket, spec.Log = planFolder, planFolder+"/wire", io.Discard
	if err := checker.Check(spec); err != nil {
		p.problem(err)
	}
}

// boxLimits says what a box may use. A guest always has so much memory and no more.
func boxLimits(kind string, l driver.Limits) string {
	defaults := map[string]int64{configs.VM: vm.DefaultMemory, configs.Unikernel: unikernel.DefaultMemory}
	if guest, ok := defaults[kind]; ok && l.Memory == 0 {
		l.Memory = guest
		return limitsText(l) + " (default)"
	}
	return limitsText(l)
}

// protection says what a kind of box protects by here, and what not; of the first stage in one.
func (p *planner) protection(kind string) {
	probe := p.probes[kind]
	switch first, told := p.told[kind]; {
	case probe.Err != nil || len(probe.Protect)+len(probe.Lacks) == 0:
		return
	case told:
		p.line("protects", "as %s above", first)
		return
	}
	p.told[kind] = p.stage
	if len(probe.Protect) > 0 {
		p.line("protects", "%s", strings.Join(probe.Protect, ", "))
	}
	for _, lack := range probe.Lacks {
		p.line("lacks", "%s", lack)
	}
}

func limitsText(l driver.Limits) string {
	var all []string
	if l.Memory > 0 {
		all = append(all, "memory "+pipeline.Size(l.Memory).String())
	}
	switch {
	case l.CPUs == 1:
		all = append(all, "1 processor")
	case l.CPUs > 0:
		all = append(all, fmt.Sprintf("%g processors", l.CPUs))
	}
	if l.PIDs > 0 {
		all = append(all, fmt.Sprintf("%d processes and threads", l.PIDs))
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// guest says on what a whole other system runs, and how it finds what it may reach.
func (p *planner) guest(ctx context.Context, name string) {
	g := p.pipeline.Runtime.Guests[name]
	d, err := guestDriver(p.pipeline.Runtime, name, func(grant string) string { return planFolder + "/" + grant })
	if err != nil {
		p.problem(err)
		return
	}
	probe := d.Probe(ctx)
	if probe.Err != nil {
		p.line("box", "%s", configs.VM)
		p.problem(probe.Err)
	} else {
		p.line("box", "%s: %s", configs.VM, probe.Engine)
		p.check(d, driver.Spec{})
	}
	what := "what it writes stays"
	if g.Snapshot {
		what = "what it writes is gone when it stops"
	}
	if info, err := os.Stat(g.Disk); err != nil {
		p.problem(err)
	} else {
		p.line("disk", "%s, %s of %s, %s", g.Disk, g.Format, humanSize(info.Size()), what)
	}
	p.line("limits", "%s", limitsText(driver.Limits{Memory: int64(g.Memory), CPUs: float64(g.CPUs)}))
	p.line("network", "%s", guestReach(g, &d.Guest))
	if len(probe.Protect) > 0 {
		p.line("protects", "%s", strings.Join(probe.Protect, ", "))
	}
	for _, lack := range probe.Lacks {
		p.line("lacks", "%s", lack)
	}
}

// guestReach lists the grants of a guest, and where it finds each.
func guestReach(c configs.Guest, g *vm.Guest) string {
	if len(c.Grants) == 0 {
		return "nothing"
	}
	at := g.Addresses()
	var all []string
	for i, name := range slices.Sorted(maps.Keys(c.Grants)) {
		all = append(all, fmt.Sprintf("%s %s (in the guest %s)", name, c.Grants[name], at[g.Grants[i].Name]))
	}
	return strings.Join(all, ", ")
}
