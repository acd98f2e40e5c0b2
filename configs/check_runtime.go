package configs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sightline/configs/strict"
	"sightline/models"
	"sightline/pipeline"
)

// boxes checks that each stage can run in its box, and settles what depends on it.
func (c *checker) boxes() {
	for _, name := range slices.Sorted(maps.Keys(c.p.Sources)) {
		if box, ok := c.box(name); ok {
			c.captureBox(name, box)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Models)) {
		if box, ok := c.box(name); ok {
			c.classifyBox(name, box)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Sinks)) {
		if box, ok := c.box(name); ok {
			c.publishBox(name, box)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Runtime.Stages)) {
		if box, ok := c.box(name); ok {
			c.limits(name, box)
		}
	}
	c.engines()
}

// box names the box of a stage; false when a problem with it was told already, or it depends on a
// variable that is not set here.
func (c *checker) box(stage string) (string, bool) {
	key := "runtime.stages." + stage + ".in"
	if !c.doc.Stands(key) {
		key = "runtime.default"
	}
	return c.p.BoxOf(stage), c.doc.Given(key) || !c.doc.Stands(key)
}

// inBox says what to write for a stage to run in another box.
func inBox(stage string, boxes ...string) string {
	return "runtime.stages." + stage + ".in: " + strings.Join(boxes, " or ")
}

func isGuest(box string) bool { return box == VM || box == Unikernel }

// captureBox checks a source, and makes auto mean TCP where there is nothing else.
func (c *checker) captureBox(name, box string) {
	s := c.p.Sources[name]
	if s.Local() && box != Inline {
		c.problem("runtime.stages."+name+".in", "a "+box+" box has none of this machine's files and devices, of which "+name+" is one", "write inline, or remove the key")
		return
	}
	if r := s.RTSP; r != nil && box != Inline {
		transport := "sources." + name + ".rtsp.transport"
		if c.doc.Given(transport) && r.Transport == "udp" {
			c.problem(transport, "udp does not work in a "+box+" box, whose one stream carries TCP only", "write tcp, or "+inBox(name, Inline))
		}
		if r.Transport == "auto" {
			r.Transport = "tcp"
		}
	}
	reason, works := decoderBoxes(s.Decoder)
	if key := "sources." + name + ".decoder"; c.doc.Given(key) && !slices.Contains(works, box) {
		c.problem(key, fmt.Sprintf("%s does not work in a %s box: %s", s.Decoder, box, reason), "write software, or "+inBox(name, works...))
	}
}

// decoderBoxes lists the boxes that a decoder works in, and says why not in others.
func decoderBoxes(decoder string) (reason string, works []string) {
	switch decoder {
	case "v4l2m2m":
		return "a box is not given the decoder's /dev/video devices", []string{Inline}
	case "nvv4l2":
		return "only NVIDIA's container runtime gives a box the decoder", []string{Inline, Container}
	case "vaapi", "cuda":
		return "a guest has no GPU", []string{Inline, Process, Container}
	}
	return "", Boxes()
}

func (c *checker) classifyBox(name, box string) {
	provider, key := c.p.Models[name].Provider, "models."+name+".provider"
	switch {
	case !c.doc.Given(key) || box == Inline:
	case isGuest(box) && (provider == models.ProviderCUDA || provider == models.ProviderTensorRT):
		c.problem(key, fmt.Sprintf("%s does not work in a %s box: a guest has no GPU", provider, box),
			"write cpu, or "+inBox(name, Process, Container))
	case provider == models.ProviderTensorRT:
		c.warn(key, "tensorrt builds its engine at each start in a "+box+" box, which keeps no files",
			"minutes on a small device: "+inBox(name, Inline)+" keeps it")
	}
}

func (c *checker) publishBox(name, box string) {
	if box == Inline || !c.p.onlyInline(name) {
		return
	}
	c.problem("runtime.stages."+name+".in", "a "+box+" box has none of this machine's files and no standard output, to which "+name+" writes",
		"write inline, or give the sink mqtt instead of jsonl")
}

// What guests need at least: with less memory they do not start, or the stage does not run in them; and
// what a unikernel can use.
const (
	leastVM            = 128 << 20
	leastUnikernel     = 256 << 20
	leastUnikernelSink = 96 << 20

	mostUnikernelCPUs = 4
)

// limits checks that a box can keep the limits that are set for it.
func (c *checker) limits(name, box string) {
	path, limits := "runtime.stages."+name, c.p.Runtime.Stages[name]
	if box == Inline {
		c.inlineLimits(name, path)
		return
	}
	if least := c.leastMemory(name, box); c.doc.Given(path+".memory") && limits.Memory < least {
		c.problem(path+".memory", fmt.Sprintf("is too little for a %s box with this stage", box), "write "+least.String()+" or more")
	}
	if box == Unikernel && c.doc.Given(path+".cpus") && limits.CPUs > mostUnikernelCPUs {
		c.problem(path+".cpus", "a unikernel has at most 4 processors", "write 4 or less, or "+inBox(name, Process, Container, VM))
	}
	if box == Unikernel && c.doc.Given(path+".pids") {
		c.problem(path+".pids", "a unikernel has no processes to count", "remove it, or "+inBox(name, Process, Container, VM))
	}
}

func (c *checker) inlineLimits(name, path string) {
	suggestion := "remove it, or write in: process"
	if c.p.onlyInline(name) {
		suggestion = "remove it"
	}
	for _, key := range []string{"memory", "cpus", "pids"} {
		if c.doc.Given(path + "." + key) {
			c.problem(path+"."+key, "has no use for an inline stage, which runs in sightline itself", suggestion)
		}
	}
}

func (c *checker) leastMemory(name, box string) pipeline.Size {
	_, sink := c.p.Sinks[name]
	switch {
	case box == VM:
		return leastVM
	case box == Unikernel && sink:
		return leastUnikernelSink
	case box == Unikernel:
		return leastUnikernel
	}
	return 0
}

// engines checks the settings of what boxes stand on.
func (c *checker) engines() {
	r := &c.p.Runtime
	if key := "runtime.container.engine"; c.doc.Given(key) {
		if path, unix := strings.CutPrefix(r.Container.Engine, "unix://"); !unix || !filepath.IsAbs(path) {
			c.problem(key, "is not the socket of an engine on this machine", "write it like unix:///run/docker.sock")
		}
	}
	c.existing("runtime.vm.kernel", &r.VM.Kernel)
	c.existingFolder("runtime.vm.modules", &r.VM.Modules)
	if rest, home := strings.CutPrefix(r.Unikernel.Release, "~/"); home {
		if user, err := os.UserHomeDir(); err == nil {
			r.Unikernel.Release = filepath.Join(user, rest)
		}
	}
	c.existingFolder("runtime.unikernel.release", &r.Unikernel.Release)
}

// existingFolder makes the path at a key usable, and checks that it is a folder.
func (c *checker) existingFolder(path string, name *string) {
	if !c.doc.Given(path) {
		return
	}
	if *name == "" {
		c.problem(path, "is empty", "write a path, or remove the key")
		return
	}
	written := *name
	*name = c.beside(written)
	if c.opts.Elsewhere {
		return
	}
	info, err := os.Stat(*name)
	if err == nil && !info.IsDir() {
		err = errors.New("is not a folder")
	}
	if err != nil {
		c.problem(path, cause(err), whereHint(written, err))
	}
}

// stages checks that the boxes are those of stages.
func (c *checker) stages() {
	all := c.stageNames()
	for _, name := range c.written("runtime", "stages") {
		if !slices.Contains(all, name) {
			suggestion := "the stages are " + strings.Join(all, ", ")
			if near := strict.Nearest(name, all); near != "" {
				suggestion = "did you mean " + near + "?"
			}
			c.problem("runtime.stages."+name, "there is no such stage", suggestion)
		}
	}
}

// written returns the names of a map as they stand in the file, also those of empty groups, which are
// not decoded.
func (c *checker) written(section, key string) []string {
	group, _ := c.doc.Settings()[section].(map[string]any)
	names, _ := group[key].(map[string]any)
	return slices.Sorted(maps.Keys(names))
}

func (c *checker) stageNames() []string {
	var all []string
	for _, s := range c.sections() {
		all = append(all, s.names...)
	}
	return all
}
