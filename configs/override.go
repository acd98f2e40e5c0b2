package configs

import (
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"sightline/configs/strict"
)

const boxKey = "runtime.default"

// Override is a key that the environment or a flag can set over the file. An empty variable sets nothing.
type Override struct {
	Key  string // path of the key
	Env  string // name of the environment variable
	Flag string // name of the flag, without dashes
	Doc  string
}

// Overrides lists every key that can be overridden. The list is short on purpose: what cameras,
// models and sinks are is in the file, and the file takes variables wherever it wants.
func Overrides() []Override {
	return []Override{
		{"device", "SIGHTLINE_DEVICE", "device", "name of this device"},
		{"http.listen", "SIGHTLINE_HTTP_LISTEN", "http-listen", "address and port of the HTTP server, or off"},
		{"http.allow_remote", "SIGHTLINE_HTTP_ALLOW_REMOTE", "http-allow-remote", "true allows an HTTP address that other machines reach"},
		{"log.level", "SIGHTLINE_LOG_LEVEL", "log-level", "debug, info, warn or error"},
		{"log.format", "SIGHTLINE_LOG_FORMAT", "log-format", "text or json"},
		{boxKey, "SIGHTLINE_RUNTIME_DEFAULT", "runtime-default", "box of the stages that name none: inline, process, container, vm or unikernel"},
		{"runtime.vm.kernel", "SIGHTLINE_VM_KERNEL", "vm-kernel", "Linux kernel for vm boxes"},
		{"grace", "SIGHTLINE_GRACE", "grace", "how long stages may finish when asked to stop, such as 10s"},
	}
}

// AddFlags defines the flags of Overrides, whose values Options.Flags takes.
func AddFlags(flags *pflag.FlagSet) {
	for _, o := range Overrides() {
		flags.String(o.Flag, "", o.Doc+" ($"+o.Env+"); default: what the file says")
	}
}

// layer puts the environment and then the flags over what v has from the file.
func (o Options) layer(v *viper.Viper, doc *strict.Document) strict.Problems {
	var problems strict.Problems
	for _, over := range Overrides() {
		if text, set := o.lookup(over.Env); set && text != "" {
			value, wrong := doc.Override(over.Key, text, "$"+over.Env)
			problems = append(problems, wrong...)
			if len(wrong) == 0 {
				problems = append(problems, merge(v, over.Key, value)...)
			}
		}
		if o.Flags == nil || !o.Flags.Changed(over.Flag) {
			continue
		}
		value, wrong := doc.Override(over.Key, o.Flags.Lookup(over.Flag).Value.String(), "--"+over.Flag)
		problems = append(problems, wrong...)
		if len(wrong) == 0 {
			v.Set(viperKey(over.Key), value)
		}
	}
	if o.Box != "" {
		value, wrong := doc.Override(boxKey, o.Box, "box")
		problems = append(problems, wrong...)
		if len(wrong) == 0 {
			v.Set(viperKey(boxKey), value)
		}
	}
	return problems
}

// merge puts a value over the file's. It does not use viper's own look at the environment, which
// knows nothing of keys that have no default, and checks nothing.
func merge(v *viper.Viper, key string, value any) strict.Problems {
	parts := strings.Split(key, ".")
	tree := map[string]any{parts[len(parts)-1]: value}
	for i := len(parts) - 2; i >= 0; i-- {
		tree = map[string]any{parts[i]: tree}
	}
	if err := v.MergeConfigMap(tree); err != nil {
		return strict.Problems{{File: "environment", Key: key, Problem: err.Error()}}
	}
	return nil
}

// delimiter separates keys in viper. No name has it, so that no name is split.
const delimiter = "::"

func viperKey(path string) string { return strings.ReplaceAll(path, ".", delimiter) }
