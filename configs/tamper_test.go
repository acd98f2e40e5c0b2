package configs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sightline/configs"
)

const (
	tamperedHead = "version: 1\nmodels: {scene: {inputs: [gate], model: gate}}\nsinks: {lines: {inputs: [scene], jsonl: {path: \"-\"}}}\n"
	tamperedGate = "sources: {gate: {rtsp: {url: \"rtsp://192.0.2.1/a\"}}}\n"
)

// laughs stands for a thousand million words in a few lines.
func laughs() string {
	var b strings.Builder
	b.WriteString("x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "x%d: &x%d [%s*x%d]\n", i, i, strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 9), i-1)
	}
	return b.String()
}

func TestPipelineFilesThatAreMeantToHurtAreRefusedByName(t *testing.T) {
	sink := func(prefix string) string {
		return "version: 1\n" + tamperedGate + "models: {scene: {inputs: [gate], model: gate}}\nsinks: {cloud: {inputs: [scene], mqtt: {url: \"mqtt://192.0.2.1\", prefix: \"" + prefix + "\"}}}\n"
	}
	for name, test := range map[string]struct{ text, want string }{
		"aliases of aliases":          {tamperedHead + laughs() + "sources: *x8\n", "sources"},
		"aliases where names belong":  {tamperedHead + laughs() + "sources: {gate: *x8}\n", "sources.gate"},
		"aliases in a list":           {"version: 1\n" + tamperedGate + laughs() + "models: {scene: {inputs: *x8, model: gate}}\n", "models.scene.inputs"},
		"merges of merges":            {"version: 1\na: &a {k: v}\nb: &b {<<: [*a, *a, *a, *a]}\nsources: {<<: *b}\n" + tamperedHead[11:], "unknown key"},
		"brackets without end":        {tamperedHead + "sources: " + strings.Repeat("[", 200_000), "not YAML"},
		"groups without end":          {tamperedHead + "sources: " + strings.Repeat("{a: ", 20_000), "not YAML"},
		"deep and closed":             {tamperedHead + "sources: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000), "sources"},
		"two million bytes":           {tamperedHead + tamperedGate + "# " + strings.Repeat("x", 2<<20), "more than"},
		"no UTF-8":                    {tamperedHead + tamperedGate + "name: \"\xff\xfe\"\n", "UTF-8"},
		"a NUL":                       {tamperedHead + tamperedGate + "name: \"a\x00b\"\n", "not YAML"},
		"an include":                  {tamperedHead + "sources: !include /etc/passwd\n", "tag"},
		"an object of another tongue": {tamperedHead + tamperedGate + "name: !!python/object/apply:os.system [\"true\"]\n", "name"},
		"binary":                      {tamperedHead + tamperedGate + "name: !!binary aGVsbG8=\n", "tag"},
		"a wildcard in a device":      {tamperedHead + tamperedGate + "device: \"+\"\n", "device"},
		"all topics as a device":      {tamperedHead + tamperedGate + "device: \"a/#\"\n", "device"},
		"a wildcard in a source":      {tamperedHead + "sources: {\"+\": {rtsp: {url: \"rtsp://192.0.2.1/a\"}}}\n", "is not a name"},
		"levels in a source":          {tamperedHead + "sources: {\"a/b\": {rtsp: {url: \"rtsp://192.0.2.1/a\"}}}\n", "is not a name"},
		"a source that leads up":      {tamperedHead + "sources: {\"../../x\": {rtsp: {url: \"rtsp://192.0.2.1/a\"}}}\n", "is not a name"},
		"a wildcard in a prefix":      {sink("a/+/b"), "prefix"},
		"all topics as a prefix":      {sink("#"), "prefix"},
		"the broker's own topics":     {sink("$SYS"), "prefix"},
		"a line end in a prefix":      {sink("a\\nb"), "prefix"},
		"a model of another folder":   {strings.Replace(tamperedHead, "model: gate", "model: /proc/self/mem", 1) + tamperedGate, "models.scene.model"},
		"a model that never ends":     {strings.Replace(tamperedHead, "model: gate", "model: /dev/zero", 1) + tamperedGate, "regular"},
		"a card that never ends":      {strings.Replace(tamperedHead, "model: gate", "model: testdata/good/files/scene.onnx, card: /dev/zero", 1) + tamperedGate, "regular"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "front.yaml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := configs.Load(path, configs.Options{BuiltIn: []string{"gate"}, Host: "h", Folder: "."})
			if err == nil {
				t.Fatalf("accepted: %+v", p)
			}
			if text := err.Error(); !strings.Contains(text, test.want) || len(text) > 64<<10 {
				t.Errorf("error of %d bytes, without %q: %.500s", len(text), test.want, text)
			}
		})
	}
}

func TestSecretAndPipelineFilesThatAreNoneAreRefusedByName(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string, mode os.FileMode) error {
		return errors.Join(os.WriteFile(at(name), []byte(text), mode), os.Chmod(at(name), mode))
	}
	err := errors.Join(
		put("well", "s3cret\n", 0o600), put("open", "s3cret\n", 0o644), put("large", strings.Repeat("x", 5000), 0o600), put("shared", "s3cret\n", 0o666),
		os.Mkdir(at("folder"), 0o700), syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("nowhere", at("dangling")), os.Symlink("loop", at("loop")),
		os.Symlink("/dev/zero", at("endless")), os.Symlink("pipe", at("to-pipe")),
		os.Mkdir(at("..1"), 0o700), put("..1/mounted", "s3cret\n", 0o600), os.Symlink("..1", at("..data")), os.Symlink("..data/mounted", at("mounted")),
		os.Symlink("open", at("to-open")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"well": "", "mounted": "", // links are how engines mount secrets: what counts is where they lead
		"open": "every user", "to-open": "every user", "shared": "can write",
		"large": "more than", "folder": "folder", "pipe": "regular", "to-pipe": "regular", "endless": "regular", "dangling": "no such file", "loop": "too many",
	} {
		t.Run(name, func(t *testing.T) {
			text := tamperedHead + fmt.Sprintf("sources: {gate: {rtsp: {url: \"rtsp://192.0.2.1/a\", username: u, password_file: %q}}}\n", at(name))
			p, err := configs.Parse("front.yaml", []byte(text), configs.Options{BuiltIn: []string{"gate"}, Host: "h"})
			said := ""
			switch {
			case err != nil:
				said = err.Error()
			case len(p.Warnings) > 0:
				said = p.Warnings.Error()
			case p.Sources["gate"].RTSP.Password.Reveal() != "s3cret":
				t.Error("it is another secret")
			}
			if want == "" && said != "" || !strings.Contains(said, want) || want != "" && !strings.Contains(said, "sources.gate.rtsp.password_file") {
				t.Errorf("said %q, not %q", said, want)
			}
			if strings.Contains(said, "s3cret") {
				t.Errorf("the secret is in %q", said)
			}
		})
		if want == "" || strings.Contains(want, "every") || want == "can write" || name == "large" {
			continue
		}
		if _, err := configs.Load(at(name), configs.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("as a pipeline file %s: %v", name, err)
		}
	}
}
