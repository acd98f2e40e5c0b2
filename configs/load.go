package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"sightline/configs/strict"
)

// Options are what a pipeline file is loaded with. The zero value serves.
type Options struct {
	// Env finds environment variables: those that the file names and those of Overrides. nil: those
	// of this process.
	Env func(name string) (string, bool)
	// Flags has the flags of AddFlags; those that were given win over file and environment. nil: none.
	Flags *pflag.FlagSet
	// BuiltIn are the names of the models that need no file.
	BuiltIn []string
	// Store says where the model store has a model of that name, or would have it: then the error says
	// how to get it. nil: there is no store.
	Store func(name string) (path string, err error)
	// Host is the name that device has by default, made safe for a topic. Empty: the host's name.
	Host string
	// Folder is what paths in the file are relative to. Empty: the folder of the file.
	Folder string
	// Box, if not empty, is what runtime.default is instead of what file, environment and flags say.
	Box string
	// Elsewhere says that the file is meant for another machine: variables need not be set here, and
	// files that it names need not be here.
	Elsewhere bool
}

func (o Options) lookup(name string) (string, bool) {
	if o.Env == nil {
		return os.LookupEnv(name)
	}
	return o.Env(name)
}

// Load reads and checks the pipeline file at path. All that is wrong with it comes in one error,
// strict.Problems, warnings included; no text in it shows a secret. The file is only read.
func Load(path string, o Options) (*Pipeline, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	if o.Folder == "" {
		o.Folder = filepath.Dir(path)
	}
	return Parse(path, data, o)
}

// Read returns the text of the pipeline file at path, for Parse. The error is strict.Problems.
func Read(path string) ([]byte, error) {
	data, err := read(path, 1<<20)
	if err != nil {
		return nil, strict.Problems{{File: path, Problem: cause(err)}}
	}
	return data, nil
}

// Parse is Load for a file that was read already; name is what problems call it.
func Parse(name string, data []byte, o Options) (*Pipeline, error) {
	file := &file{name: name, opts: strict.Options{Lookup: o.lookup, Elsewhere: o.Elsewhere, Later: later[:]}}
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter), viper.WithDecoderRegistry(file))
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, strict.Problems{{File: name, Problem: err.Error()}}
	}
	if len(file.doc.Settings()) == 0 {
		return nil, file.problems // not YAML
	}
	if version := v.GetInt("version"); version > Version {
		return nil, strict.Problems{file.doc.Problem("version", fmt.Sprintf("is %d; this Sightline reads version %d", version, Version),
			fmt.Sprintf("use a newer Sightline, or a file of version %d", Version))}
	}
	problems := file.problems.Merge(o.layer(v, file.doc))
	p := &Pipeline{}
	if err := v.UnmarshalExact(p, exactly); err != nil {
		return nil, problems.Merge(strict.Problems{{File: name, Problem: err.Error()}})
	}
	problems = problems.Merge(check(p, file.doc, o, problems.Err() == nil))
	if err := problems.Err(); err != nil {
		return nil, err
	}
	p.Warnings, p.Migrated = problems, file.migrated
	return p, nil
}

// exactly turns off all that viper would guess or carry over: the values have their types already.
func exactly(c *mapstructure.DecoderConfig) {
	c.WeaklyTypedInput, c.DecodeHook, c.ZeroFields = false, nil, true
}

// file is the decoder that viper reads the file with. Unlike viper's own it refuses what is not
// defined, keeps the places, and fills in the defaults of things in maps.
type file struct {
	name     string
	opts     strict.Options
	doc      *strict.Document
	problems strict.Problems
	migrated string // the text as it is written now, of a file of an older version
}

var (
	_ viper.DecoderRegistry = (*file)(nil)
	_ viper.Decoder         = (*file)(nil)
)

// Decoder returns the file itself, whatever the format.
func (f *file) Decoder(string) (viper.Decoder, error) { return f, nil }

// Decode reads data into the map. Problems are kept, not returned, so that what is right is checked
// further.
func (f *file) Decode(data []byte, into map[string]any) error {
	f.opts.Rewrite = func(root *yaml.Node) (warning strict.Problems) {
		f.migrated, warning = migrate(f.name, root)
		return warning
	}
	f.doc, f.problems = strict.Read(f.name, data, reflect.TypeFor[Pipeline](), f.opts)
	maps.Copy(into, f.doc.Settings())
	return nil
}

// read returns the content of a regular file of at most limit bytes.
func read(path string, limit int64) ([]byte, error) {
	if err := regular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("has more than the %d bytes allowed", limit)
	}
	return data, err
}

var errNotRegular = errors.New("is not a regular file")

func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a folder")
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	return nil
}

// cause says why a file cannot be used, without its path.
func cause(err error) string {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "must not be read by this user"
	case errors.As(err, &at):
		return at.Err.Error()
	}
	return err.Error()
}
