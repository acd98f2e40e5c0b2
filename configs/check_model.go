package configs

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"sightline/configs/strict"
	"sightline/models"
)

// model checks one classify stage and returns it settled.
func (c *checker) model(path string, m models.Config) models.Config {
	c.inputs(path, m.Inputs, "sources", slices.Sorted(maps.Keys(c.p.Sources)))
	c.modelFile(path, &m)
	for _, name := range slices.Sorted(maps.Keys(m.Regions)) {
		c.region(path+".regions."+name, m.Regions[name])
	}
	if m.Events != nil {
		c.events(path+".events", *m.Events)
	}
	if c.doc.Given(path+".gpu") && m.Provider == "cpu" {
		c.warn(path+".gpu", "has no effect with provider cpu", "write provider: cuda, tensorrt or auto")
	}
	if c.doc.Given(path+".batch.wait") && m.Batch.Wait > 0 && m.Batch.Max == 1 {
		c.warn(path+".batch.wait", "has no effect with max 1", "write how many frames a batch may have in max")
	}
	for _, input := range m.Inputs {
		if s, ok := c.p.Sources[input]; ok && m.Batch.Max > 1 && m.Batch.Wait >= s.Staleness {
			c.problem(path+".batch.wait", "is not below the staleness of "+input+", so frames go stale in it", "write less than "+s.Staleness.String())
			break
		}
	}
	return m
}

// events checks when results make an event.
func (c *checker) events(path string, e models.Events) {
	switch {
	case !c.doc.Given(path+".agree") && !c.doc.Given(path+".of"):
	case e.Agree > e.Of:
		at := path + ".agree"
		if !c.doc.Given(at) {
			at = path + ".of"
		}
		c.problem(at, fmt.Sprintf("asks for %d of %d results", e.Agree, e.Of), "agree is at most of")
	case 2*e.Agree <= e.Of:
		c.warn(path, fmt.Sprintf("asks for %d of %d results, so that two classes can be agreed on at once", e.Agree, e.Of),
			"the one that was there first goes on; write agree above half of of for a majority")
	}
}

// modelFile checks that a model is built in, in the store, or a file.
func (c *checker) modelFile(path string, m *models.Config) {
	key := path + ".model"
	switch {
	case !c.doc.Given(key):
		c.existing(path+".card", &m.Card)
	case slices.Contains(c.opts.BuiltIn, m.Model):
		if c.doc.Given(path + ".card") {
			c.problem(path+".card", "is there for a built-in model, which has its own", "remove it")
		}
	case c.stored(m.Model):
		c.fromStore(path, m)
	case !strings.ContainsAny(m.Model, "/."):
		suggestion := "write the path of a .onnx file"
		if near := strict.Nearest(m.Model, c.opts.BuiltIn); near != "" {
			suggestion = "did you mean " + near + "?"
		} else if len(c.opts.BuiltIn) > 0 {
			suggestion += ", or a built-in: " + strings.Join(c.opts.BuiltIn, ", ")
		}
		c.problem(key, "is neither a built-in model nor a path", suggestion)
	default:
		before := len(c.problems)
		c.existing(key, &m.Model)
		c.existing(path+".card", &m.Card)
		if len(c.problems) == before && !c.opts.Elsewhere {
			c.fit(key, m)
		}
	}
}

// stored tells whether a word means a model of the store: one that leads nowhere else, and is not the
// name of a file beside the pipeline file, as it may be when there is a dot in it.
func (c *checker) stored(word string) bool {
	if c.opts.Store == nil || strings.Contains(word, "/") || strings.HasSuffix(word, ".onnx") {
		return false
	}
	return !strings.Contains(word, ".") || c.opts.Elsewhere || regular(c.beside(word)) != nil
}

// fromStore takes a model from the store. Elsewhere it is only said where it would be.
func (c *checker) fromStore(path string, m *models.Config) {
	key, name, before := path+".model", m.Model, len(c.problems)
	at, err := c.opts.Store(name)
	if at != "" {
		m.Model = at
		c.p.Files = append(c.p.Files, at)
	}
	c.existing(path+".card", &m.Card)
	switch {
	case c.opts.Elsewhere:
	case err != nil:
		suggestion := ""
		if near := strict.Nearest(name, c.opts.BuiltIn); near != "" {
			suggestion = "did you mean " + near + "?"
		}
		c.problem(key, "is neither built in nor a path, and "+err.Error(), suggestion)
	case len(c.problems) == before:
		c.fit(key, m)
	}
}

// fit checks that the model is a classifier and its card fits, all but running it.
func (c *checker) fit(key string, m *models.Config) {
	card := m.Card
	if card == "" {
		card = models.CardPath(m.Model)
		c.p.Files = append(c.p.Files, card)
	}
	fit, _, err := models.Check(m.Model, m.Card)
	if err != nil {
		c.problem(key, "cannot be used: "+strings.ReplaceAll(err.Error(), "\n", "\n\t"), "")
		return
	}
	if labels := fit.Card.LabelsFile; labels != "" {
		c.p.Files = append(c.p.Files, filepath.Join(filepath.Dir(card), labels))
	}
}

// region checks fractions: left, top, right, bottom.
func (c *checker) region(path string, r [4]float64) {
	sides := [4]string{"left", "top", "right", "bottom"}
	for i, v := range r {
		if v < 0 || v > 1 {
			c.problem(path, sides[i]+" is not between 0 and 1", "write fractions of the picture's width and height")
			return
		}
	}
	if r[0] >= r[2] {
		c.problem(path, "right is not beyond left", "the order is [left, top, right, bottom]")
	} else if r[1] >= r[3] {
		c.problem(path, "bottom is not below top", "the order is [left, top, right, bottom]")
	}
}
