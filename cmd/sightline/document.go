package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"sightline/cmd/program"
	"sightline/cmd/sightline/join"
	"sightline/configs"
)

// document is a pipeline file with all that its meaning depends on: it can be read again at a boot,
// without the file, the environment and the flags that it was first read with.
type document struct {
	File      string            `json:"file"` // its name, for messages
	Folder    string            `json:"folder"`
	Text      string            `json:"text"`
	Variables map[string]string `json:"variables,omitempty"` // of the environment, as far as the file was found to use them
	// Files are what the file names of passwords and certificates, as they were when it was first planned.
	Files    map[string][]byte       `json:"files,omitempty"`
	Closures map[string]join.Closure `json:"closures,omitempty"` // by stage; nil: not made yet
}

// newDocument reads a pipeline file as configs.Load does.
func newDocument(file string, flags *pflag.FlagSet) (*document, *configs.Pipeline, error) {
	d := &document{File: file, Variables: map[string]string{}}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, nil, err
	}
	d.Folder = folder
	o := configs.Options{BuiltIn: builtInModels(), Folder: folder, Flags: flags, Env: d.noting()}
	if _, err := configs.Load(file, o); err != nil { // it knows how to say what is wrong with a file
		return nil, nil, badConfig{err}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, badConfig{err}
	}
	d.Text = string(text)
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
	p, err := configs.Parse(d.File, []byte(d.Text), configs.Options{
		BuiltIn: builtInModels(), Folder: d.Folder, Elsewhere: d.Closures != nil,
		Env: func(name string) (string, bool) { value, ok := d.Variables[name]; return value, ok },
	})
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
