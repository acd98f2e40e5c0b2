package configs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"sightline/configs"
	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
	"sightline/sinks"
)

// password is what no output may show. It has the characters that break addresses and YAML.
const password = "hunter2 #@/:%'\"\\"

// secretFiles returns a folder with files of passwords, proper and not.
func secretFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"private": password + "\n", "shared": password + "\r\n", "empty": "\n", "lines": password + "\n" + password + "\n",
		"large": strings.Repeat("hunter2", 1000),
	} {
		mode := os.FileMode(0o600)
		if name == "shared" {
			mode = 0o644
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// environment is that of the golden files: fixed variables, and those of a first line "# env: NAME=value …".
func environment(data []byte, dir string) func(string) (string, bool) {
	set := map[string]string{
		"DIR": dir, "PASSWORD": password, "HASH": "hunter2#$PASSWORD${SITE}", "EMPTY": "", "SITE": "north", "PORT": "8554",
		"USER_NAME": "viewer", "STALL": "7s", "FPS": "2", "MODEL": "scene", "CAMERA_URL": "rtsp://viewer:hunter2@192.0.2.10/",
	}
	first, _, _ := strings.Cut(string(data), "\n")
	if vars, ok := strings.CutPrefix(first, "# env: "); ok {
		for _, v := range strings.Fields(vars) {
			name, value, _ := strings.Cut(v, "=")
			set[name] = value
		}
	}
	return func(name string) (string, bool) {
		value, ok := set[name]
		return value, ok
	}
}

// each loads every YAML file of a folder of golden files.
func each(t *testing.T, folder string, do func(t *testing.T, path, dir string, p *configs.Pipeline, err error)) int {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := secretFiles(t)
			p, err := configs.Parse(filepath.Base(path), data, configs.Options{
				Env: environment(data, dir), BuiltIn: []string{"gate"}, Host: "Host.example.com", Folder: filepath.Dir(path),
			})
			do(t, path, dir, p, err)
		})
	}
	return len(files)
}

// noSecret checks that a text shows no password.
func noSecret(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "hunter") {
		t.Errorf("shows the password:\n%s", text)
	}
}

func TestBadFilesAreRefusedWithEveryProblem(t *testing.T) {
	n := each(t, "bad", func(t *testing.T, path, dir string, p *configs.Pipeline, err error) {
		if err == nil {
			t.Fatalf("accepted: %+v", p)
		}
		noSecret(t, err.Error())
		if _, ok := err.(strict.Problems); !ok {
			t.Errorf("the error is a %T", err)
		}
		stricttest.Golden(t, strings.TrimSuffix(path, ".yaml")+".golden", err.Error()+"\n", *update)
	})
	if n < 30 {
		t.Errorf("only %d files", n)
	}
}

func TestGoodFilesAreSettled(t *testing.T) {
	check := stricttest.Editor(t, configs.JSONSchema())
	each(t, "good", func(t *testing.T, path, dir string, p *configs.Pipeline, err error) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := strict.Format(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Warnings) > 0 {
			text += "# " + strings.ReplaceAll(p.Warnings.Error(), "\n", "\n# ") + "\n"
		}
		noSecret(t, text)
		stricttest.Golden(t, strings.TrimSuffix(path, ".yaml")+".golden", strings.ReplaceAll(text, dir, "${DIR}"), *update)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if p.Migrated != "" {
			data = []byte(p.Migrated)
			sameMigrated(t, path, dir, p)
		}
		if err := check(data); err != nil {
			t.Error(err)
		}
	})
}

// sameMigrated checks that what a file of an older version would be now means the same.
func sameMigrated(t *testing.T, path, dir string, p *configs.Pipeline) {
	t.Helper()
	noSecret(t, p.Migrated)
	again, err := configs.Parse(filepath.Base(path), []byte(p.Migrated), configs.Options{
		Env: environment(nil, dir), BuiltIn: []string{"gate"}, Host: "Host.example.com", Folder: filepath.Dir(path),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Migrated)
	}
	stricttest.Golden(t, strings.TrimSuffix(path, ".yaml")+".migrated", p.Migrated, *update)
	before, err := strict.Format(p)
	now, failed := strict.Format(again)
	if before != now || err != nil || failed != nil || again.Migrated != "" || slices.ContainsFunc(again.Warnings, func(w strict.Problem) bool { return w.Key == "version" }) {
		t.Errorf("was\n%s\nis\n%s\n%v", before, now, again.Warnings)
	}
}

func load(t *testing.T, name string, o configs.Options) *configs.Pipeline {
	t.Helper()
	path := filepath.Join("testdata", "good", name+".yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if o.Env == nil {
		o.Env = environment(data, secretFiles(t))
	}
	o.BuiltIn = []string{"gate"}
	p, err := configs.Load(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSecretsArriveAsTheyAre(t *testing.T) {
	p := load(t, "everything", configs.Options{})
	if got := p.Sources["gate"].RTSP.Password.Reveal(); got != password {
		t.Errorf("from a variable: %q", got)
	}
	if got := p.Sinks["cloud"].MQTT.Password.Reveal(); got != password {
		t.Errorf("from a file: %q", got)
	}
	if got := load(t, "variables", configs.Options{}).Sources["gate"].RTSP.Password.Reveal(); got != "hunter2#$PASSWORD${SITE}" {
		t.Errorf("what a variable holds was looked into: %q", got)
	}
	if got := load(t, "warnings", configs.Options{}).Sources["yard"].RTSP.Password.Reveal(); got != password {
		t.Errorf("with \\r\\n: %q", got)
	}
}

func TestValuesArriveWithTheirTypes(t *testing.T) {
	p := load(t, "everything", configs.Options{})
	gate, scene, cloud := p.Sources["gate"], p.Models["scene"], p.Sinks["cloud"]
	if gate.RTSP.Stall != 90*time.Second || gate.Sample.FPS != 0.5 || gate.Sample.Every != "" {
		t.Errorf("%+v", gate)
	}
	if scene.Threshold == nil || *scene.Threshold != 0 || *scene.TopK != 3 || scene.Regions["right-half_2"] != [4]float64{0.5, 0, 1, 1} {
		t.Errorf("%+v", scene)
	}
	if cloud.Spool.MaxBytes != 3<<19 || cloud.Spool.Full != sinks.RejectNew || cloud.MQTT.QoS != 0 || cloud.JSONL != nil {
		t.Errorf("%+v", cloud)
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	configs.AddFlags(flags)
	if err := flags.Parse([]string{"--device=flag", "--grace", "3s"}); err != nil {
		t.Fatal(err)
	}
	p := load(t, "environment", configs.Options{Flags: flags})
	if p.Device != "flag" || p.Grace != 3*time.Second || p.Log.Level != "error" || p.HTTP.Listen != configs.Off {
		t.Errorf("%+v", p)
	}
	if err := flags.Parse([]string{"--log-level=loud"}); err != nil {
		t.Fatal(err)
	}
	_, err := configs.Load("testdata/good/minimal.yaml", configs.Options{Flags: flags})
	want := `--log-level: log.level: the value is not one of debug, info, warn, error`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestTheProcessEnvironmentIsUsedWhenNoneIsGiven(t *testing.T) {
	t.Setenv("SIGHTLINE_DEVICE", "from-the-environment")
	p, err := configs.Load("testdata/good/minimal.yaml", configs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Device != "from-the-environment" {
		t.Errorf("device %q", p.Device)
	}
}

func TestTheHostNamesTheDeviceSafely(t *testing.T) {
	for host, want := range map[string]string{
		"gate": "gate", "Gate.example.com": "Gate.example.com", "a/b+c#d e": "a-b-c-d-e", "-._": "device",
		"türe": "t-re", strings.Repeat("x", 100): strings.Repeat("x", 63),
	} {
		if p := load(t, "minimal", configs.Options{Host: host}); p.Device != want {
			t.Errorf("host %q: device %q, want %q", host, p.Device, want)
		}
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	p := load(t, "minimal", configs.Options{})
	if got := p.Models["scene"].Model; got != filepath.Join("testdata", "good", "files", "scene.onnx") {
		t.Errorf("model %q", got)
	}
}

func TestAFileThatCannotBeReadIsSaidSo(t *testing.T) {
	for path, want := range map[string]string{
		"testdata/none.yaml": "testdata/none.yaml: there is no such file",
		"testdata":           "testdata: is a folder",
		os.DevNull:           os.DevNull + ": is not a regular file",
	} {
		if _, err := configs.Load(path, configs.Options{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLoadingDoesNotChangeTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "read-only.yaml")
	data, err := os.ReadFile("minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := configs.Load(path, configs.Options{Elsewhere: true}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(data) {
		t.Errorf("changed, %v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) < 30 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	env, check := environment(nil, "/none"), stricttest.Editor(f, configs.JSONSchema())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := configs.Parse("f", data, configs.Options{Env: env, BuiltIn: []string{"gate"}, Host: "h", Elsewhere: true})
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p == nil {
			return
		}
		if _, err := strict.Format(p); err != nil {
			t.Error(err)
		}
		if p.Migrated != "" {
			data = []byte(p.Migrated)
			if _, err := configs.Parse("f", data, configs.Options{Env: env, BuiltIn: []string{"gate"}, Host: "h", Elsewhere: true}); err != nil {
				t.Fatalf("as it would be written now: %v\n%s", err, data)
			}
		}
		// Names that YAML takes for booleans or null have no JSON; << is known to YAML only.
		var unsupported *json.UnsupportedTypeError
		if err := check(data); err != nil && !errors.As(err, &unsupported) && !bytes.Contains(data, []byte("<<")) {
			t.Errorf("accepted, but not by the schema: %v", err)
		}
		for name, s := range p.Sources {
			if kinds := btoi(s.RTSP != nil) + btoi(s.File != nil) + btoi(s.Device != nil); kinds != 1 || s.RTSP != nil && s.RTSP.URL == "" && !strings.Contains(string(data), "$") {
				t.Errorf("accepted source %q: %+v", name, s)
			}
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
