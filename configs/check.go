package configs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sightline/configs/strict"
	"sightline/pipeline"
)

// checker looks at what a definition cannot say. It looks only at values that stand in the file and were
// accepted, so that one mistake is told once.
type checker struct {
	p        *Pipeline
	doc      *strict.Document
	opts     Options
	folder   string
	problems strict.Problems
}

// check settles what depends on other values (device, paths, secrets) in p, and tells what is wrong.
// clean says that nothing was wrong so far; only then does it tell what is not used.
func check(p *Pipeline, doc *strict.Document, o Options, clean bool) strict.Problems {
	c := &checker{p: p, doc: doc, opts: o, folder: o.Folder}
	c.device()
	if c.p.Name == "" {
		c.p.Name = strings.TrimSuffix(filepath.Base(c.doc.File()), filepath.Ext(c.doc.File()))
	}
	c.names()
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		p.Sources[name] = c.source("sources."+name, p.Sources[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Models)) {
		p.Models[name] = c.model("models."+name, p.Models[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sinks)) {
		p.Sinks[name] = c.sink("sinks."+name, p.Sinks[name])
	}
	c.together()
	c.topics()
	c.stages()
	c.boxes()
	c.guests()
	c.listen()
	if clean && c.problems.Err() == nil {
		c.unused()
	}
	return c.problems
}

func (c *checker) problem(path, problem, suggestion string) {
	c.problems = append(c.problems, c.doc.Problem(path, problem, suggestion))
}

func (c *checker) warn(path, problem, suggestion string) {
	p := c.doc.Problem(path, problem, suggestion)
	p.Warning = true
	c.problems = append(c.problems, p)
}

var safeDevice = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// device checks the device's name, or makes one of the host's.
func (c *checker) device() {
	if c.doc.Given("device") {
		if !safeDevice.MatchString(c.p.Device) {
			c.problem("device", "is not fit for a topic", "use 1 to 63 of A-Z a-z 0-9 . _ -, beginning with a letter or digit")
		}
		return
	}
	host := c.opts.Host
	if host == "" {
		host, _ = os.Hostname() // without a name the device is called device
	}
	c.p.Device = deviceName(host)
}

func deviceName(host string) string {
	name := strings.Map(func(r rune) rune {
		if safeDevice.MatchString("a" + string(r)) {
			return r
		}
		return '-'
	}, host)
	name = strings.TrimLeft(name, "._-")
	if len(name) > 63 {
		name = name[:63]
	}
	if name == "" {
		return "device"
	}
	return name
}

// names checks that a name means one stage.
func (c *checker) names() {
	taken := map[string]string{}
	for _, section := range c.sections() {
		for _, name := range section.names {
			path := section.name + "." + name
			if other, ok := taken[name]; ok {
				c.problem(path, "has the name of "+other, "a name means one stage; choose another, such as "+name+"-"+strings.TrimSuffix(section.name, "s"))
				continue
			}
			taken[name] = path
		}
	}
}

type section struct {
	name  string
	names []string
}

func (c *checker) sections() []section {
	return []section{
		{"sources", slices.Sorted(maps.Keys(c.p.Sources))},
		{"models", slices.Sorted(maps.Keys(c.p.Models))},
		{"sinks", slices.Sorted(maps.Keys(c.p.Sinks))},
	}
}

// inputs checks that a stage's inputs are names in a section, each once.
func (c *checker) inputs(path string, inputs []string, section string, names []string) {
	for i, input := range inputs {
		at := fmt.Sprintf("%s.inputs[%d]", path, i)
		switch {
		case !c.doc.Given(at):
		case slices.Contains(inputs[:i], input):
			c.problem(at, "is there twice", "remove it")
		case slices.Contains(names, input) || c.doc.Stands(strict.Join(section, input)):
		default:
			c.reference(at, section, input, names)
		}
	}
}

// reference tells of a name that is not there.
func (c *checker) reference(path, section, name string, names []string) {
	suggestion := "there is none"
	if len(names) > 0 {
		suggestion = "there is " + strings.Join(names, ", ")
	}
	if near := strict.Nearest(name, names); near != "" {
		suggestion = "did you mean " + near + "?"
	}
	c.problem(path, fmt.Sprintf("%s has no %q", section, pipeline.RedactText(c.doc.Written(path))), suggestion)
}

// unused warns of stages whose work nobody takes.
func (c *checker) unused() {
	var sources, models []string
	for _, m := range c.p.Models {
		sources = append(sources, m.Inputs...)
	}
	for _, s := range c.p.Sinks {
		models = append(models, s.Inputs...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Sources)) {
		if !slices.Contains(sources, name) {
			c.warn("sources."+name, "no model takes its frames", "add it to the inputs of one, or remove it")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Models)) {
		if !slices.Contains(models, name) {
			c.warn("models."+name, "no sink takes its results", "add it to the inputs of one, or remove it")
		}
	}
}
