package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sightline/cmd/program"
	"sightline/cmd/sightline/join"
	"sightline/configs"
	"sightline/models/catalogue"
)

// document is a pipeline file with all that its meaning depends on: it can be read again at a boot,
// without the file, the environment and the flags that it was first read with.
type document struct {
	File      string            `json:"file"` // its name, for messages
	Folder    string            `json:"folder"`
	Store     string            `json:"store,omitempty"` // folder of the model store
	Text      string            `json:"text"`
	Variables map[string]string `json:"variables,omitempty"` // of the environment, as far as the file was found to use them
	// Files are what the file names of passwords and certificates, as they were when it was first planned.
	Files    map[string][]byte       `json:"files,omitempty"`
	Closures map[string]join.Closure `json:"closures,omitempty"` // by stage; nil: not made yet
}

// newDocument reads a pipeline file as configs.Load does, with what the command line says.
func newDocument(c *cobra.Command, file string) (*document, *configs.Pipeline, error) {
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, nil, err
	}
	flags := c.Flags()
	d := &document{File: file, Folder: folder, Store: storeFolder(c), Variables: map[string]string{}}
	text, err := configs.Read(file)
	if err != nil {
		return nil, nil, badConfig{err}
	}
	d.Text = string(text)
	o := options(d.Store)
	o.Folder, o.Flags, o.Env = folder, flags, d.noting()
	p, err := configs.Parse(file, text, o)
	if err != nil {
		return nil, nil, badConfig{err}
	}
	for _, f := range configs.Overrides() {
		if flag := flags.Lookup(f.Flag); flag != nil && flag.Changed {
			d.Variables[f.Env] = flag.Value.String() // it wins over the file, as the flag did
		}
	}
	return d, p, nil
}

// options are what all pipeline files are read with; store is the folder of the model store, empty when
// there is none.
func options(store string) configs.Options {
	o := configs.Options{BuiltIn: builtInModels()}
	if store != "" {
		o.Store = func(name string) (string, error) {
			at, err := catalogue.Store{Folder: store}.Find(name)
			if err != nil && catalogue.IsName(name) {
				at = catalogue.Store{Folder: store}.Path(name)
			}
			return at, err
		}
	}
	return o
}

// storeFolder is the folder of the model store that a command line means, empty when there is none.
func storeFolder(c *cobra.Command) string {
	store, err := storeOf(c)
	if err != nil {
		return "" // without a home there is no store; names of models are then told to be none
	}
	folder, err := filepath.Abs(store.Folder)
	if err != nil {
		return ""
	}
	return folder
}

// noting looks variables up in the environment and notes those that it finds.
func (d *document) noting() func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := os.LookupEnv(name)
		if ok {
			d.Variables[name] = value
		}
		return value, ok
	}
}

// identity tells a document from others: what it was called does not.
func (d *document) identity() string {
	same := *d
	same.File = filepath.Base(d.File)
	text, err := json.Marshal(same)
	if err != nil {
		return "" // it holds nothing that can't be encoded
	}
	return string(text)
}

// readFile reads a file that the pipeline names, and keeps it.
func (d *document) readFile(name string) ([]byte, error) {
	if data, ok := d.Files[name]; ok {
		return data, nil
	}
	data, err := program.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if d.Files == nil {
		d.Files = map[string][]byte{}
	}
	d.Files[name] = data
	return data, nil
}

// parse reads the document as it was first read. One whose closures were made needs no file of those
// that it names any more.
func (d *document) parse() (*configs.Pipeline, error) {
	o := options(d.Store)
	o.Folder, o.Elsewhere = d.Folder, d.Closures != nil
	o.Env = func(name string) (string, bool) { value, ok := d.Variables[name]; return value, ok }
	p, err := configs.Parse(d.File, []byte(d.Text), o)
	if err != nil {
		return nil, badConfig{err}
	}
	return p, nil
}

func readDocument(text json.RawMessage) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("read the accepted plan: %w", err)
	}
	return d, nil
}
