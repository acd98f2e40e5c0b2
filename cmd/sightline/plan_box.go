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
	p.line("limits", "%s", limitsText(limits))
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

// protection says what a kind of box protects by here, and what not.
func (p *planner) protection(kind string) {
	probe := p.probes[kind]
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

// guest says on what a whole other system runs.
func (p *planner) guest(ctx context.Context, g configs.Guest) {
	p.driver(ctx, configs.VM)
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
	reach := "nothing"
	if len(g.Grants) > 0 {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(g.Grants)) {
			all = append(all, name+" "+g.Grants[name])
		}
		reach = strings.Join(all, ", ")
	}
	p.line("network", "%s", reach)
	p.protection(configs.VM)
}
