package configs_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"sightline/configs"
)

func TestAStageWithoutABoxOfItsOwnHasTheDefaultOne(t *testing.T) {
	p := load(t, "boxes", configs.Options{})
	for stage, want := range map[string]string{
		"gate": configs.VM, "yard": configs.Inline, "scene": configs.VM, "lines": configs.Inline, "cloud": configs.Unikernel,
	} {
		if got := p.BoxOf(stage); got != want {
			t.Errorf("%s is in %s, want %s", stage, got, want)
		}
	}
	if gate, yard := p.Sources["gate"].RTSP.Transport, p.Sources["yard"].RTSP.Transport; gate != "tcp" || yard != "auto" {
		t.Errorf("transports: %s in a box, %s inline", gate, yard)
	}
	if p := load(t, "minimal", configs.Options{}); p.BoxOf("gate") != configs.Process {
		t.Errorf("by default a stage is in %s", p.BoxOf("gate"))
	}
}

func TestTheDefaultBoxCanBeOverridden(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	configs.AddFlags(flags)
	env := environment([]byte("# env: SIGHTLINE_RUNTIME_DEFAULT=container"), secretFiles(t))
	box := func(o configs.Options) string {
		o.Env = env
		return load(t, "minimal", o).BoxOf("gate")
	}
	if got := box(configs.Options{}); got != configs.Container {
		t.Errorf("by the environment: %s", got)
	}
	if err := flags.Parse([]string{"--runtime-default=vm"}); err != nil {
		t.Fatal(err)
	}
	if got := box(configs.Options{Flags: flags}); got != configs.VM {
		t.Errorf("by a flag: %s", got)
	}
	if got := box(configs.Options{Flags: flags, Box: configs.Inline}); got != configs.Inline {
		t.Errorf("by the option: %s", got)
	}
	_, err := configs.Load("testdata/good/minimal.yaml", configs.Options{Box: "cloud"})
	if err == nil || !strings.HasPrefix(err.Error(), `box: runtime.default: the value is not one of inline, process,`) {
		t.Errorf("no such box: %v", err)
	}
}

func TestWhatTheBoxIsOverriddenByIsCheckedToo(t *testing.T) {
	const text = `version: 1
sources: {gate: {rtsp: {url: "rtsp://192.0.2.1/s", transport: udp}}}
models: {scene: {inputs: [gate], model: gate}}
sinks: {lines: {inputs: [scene], jsonl: {path: "-"}}}
runtime: {default: inline}
`
	o := configs.Options{BuiltIn: []string{"gate"}}
	if _, err := configs.Parse("f", []byte(text), o); err != nil {
		t.Error(err)
	}
	o.Box = configs.VM
	if _, err := configs.Parse("f", []byte(text), o); err == nil || !strings.Contains(err.Error(), "f:2:63: sources.gate.rtsp.transport: udp does not work in a vm box") {
		t.Errorf("got %v", err)
	}
}
