// Package catalogue knows well-known classifiers: where each is, what it must be to the last bit, under which licence,
// and what its card says. It fetches them into a model store, the folder in which pipeline files find models by name.
package catalogue

import (
	_ "embed" // for the labels
	"fmt"
	"path"
	"slices"
	"strings"

	"sightline/configs/strict"
)

// Entry is one model of the catalogue. The file is known by its SHA-256; where it comes from does not matter.
type Entry struct {
	Name     string // what pipeline files and the store call it
	Summary  string // what it is, in a few words
	Zoo      string // path in the model zoo's repository
	Size     int64  // bytes
	SHA256   string // hexadecimal
	Licence  string // SPDX identifier
	Accuracy string // as its makers measured it
	Int8     bool   // weights and most operators are 8-bit integers

	input string // the lines of the card that say what it wants to see and what its scores mean
}

// zooAddress is the model zoo at one commit, so that what it serves cannot change.
const zooAddress = "https://github.com/onnx/models/raw/b1eeaa1ac722dcc1cd1a8284bde34393dab61c3d/"

// Address is where the file is on the internet.
func (e Entry) Address() string { return zooAddress + e.Zoo }

// places are the paths at which a mirror may have the file: as a model store, as a folder of what was downloaded from
// the zoo, as a clone of the zoo.
func (e Entry) places() []string {
	var list []string
	for _, place := range []string{e.Name + ".onnx", path.Base(e.Zoo), e.Zoo} {
		if !slices.Contains(list, place) {
			list = append(list, place)
		}
	}
	return list
}

// LabelsFile is the name of the labels beside the model.
func (e Entry) LabelsFile() string { return e.Name + ".labels.txt" }

// Card is the model's card, YAML. It names LabelsFile.
func (e Entry) Card() []byte {
	return fmt.Appendf(nil, `# The card of %[1]s. What it means: docs/models.md.
name: %[1]s
description: %[2]s
licence: %[3]s
source: %[4]s
sha256: %[5]s
data: ImageNet (ILSVRC2012)
accuracy: %[6]s
labels_file: %[7]s
%[8]s`, e.Name, e.Summary, e.Licence, e.Address(), e.SHA256, e.Accuracy, e.LabelsFile(), e.input)
}

//go:embed imagenet.txt
var imagenet []byte

// Labels is the file of labels that the card names: the 1000 classes of ImageNet, by WordNet synset.
func (e Entry) Labels() []byte { return slices.Clone(imagenet) }

// Find returns the model of that name.
func Find(name string) (Entry, bool) {
	i := slices.IndexFunc(all(), func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return all()[i], true
}

// ByDigest returns the model with that SHA-256, in hexadecimal.
func ByDigest(sha256 string) (Entry, bool) {
	i := slices.IndexFunc(all(), func(e Entry) bool { return e.SHA256 == strings.ToLower(sha256) })
	if i < 0 {
		return Entry{}, false
	}
	return all()[i], true
}

// All returns every model of the catalogue, in the order of their names.
func All() []Entry { return all() }

// Names returns the names of all models.
func Names() []string {
	var names []string
	for _, e := range all() {
		names = append(names, e.Name)
	}
	return names
}

// UnknownError is returned for a name that the catalogue does not have.
type UnknownError struct{ Name string }

// Error names what may have been meant.
func (e *UnknownError) Error() string {
	if near := strict.Nearest(e.Name, Names()); near != "" {
		return fmt.Sprintf("the catalogue has no model %q (did you mean %s?)", e.Name, near)
	}
	return fmt.Sprintf("the catalogue has no model %q (it has %s)", e.Name, strings.Join(Names(), ", "))
}
