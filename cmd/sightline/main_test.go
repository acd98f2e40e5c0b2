package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command line.
func command(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "front.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const wellFile = `version: 1
name: front
device: gatehouse
sources:
  gate:
    rtsp: {url: "rtsp://127.0.0.1:1/gate", username: viewer, password: "${SIGHTLINE_TEST_PASSWORD}"}
models:
  scene: {inputs: [gate], model: gate}
sinks:
  out: {inputs: [scene], jsonl: {path: "-"}}
http: {listen: "off"}
`

func TestExitStatusesTellAFailureFromABadConfiguration(t *testing.T) {
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"version", []string{"version"}, exitWell, "sightline"},
		{"help", []string{"--help"}, exitWell, "sightline run front.yaml"},
		{"schema", []string{"schema"}, exitWell, `"$schema"`},
		{"completion", []string{"completion", "bash"}, exitWell, "bash completion"},
		{"well file", []string{"validate", write(t, wellFile)}, exitWell, "well (1 source, 1 model, 1 sink)"},
		{"unknown key", []string{"validate", write(t, strings.Replace(wellFile, "model:", "modle:", 1))}, exitBadConfig, "front.yaml:8:"},
		{"unknown key, run", []string{"run", write(t, strings.Replace(wellFile, "model:", "modle:", 1))}, exitBadConfig, "model"},
		{"no such file", []string{"run", "nowhere.yaml"}, exitBadConfig, "nowhere.yaml"},
		{"state folder that cannot be written", []string{"run", "--state", "/sys/sightline"}, exitFailed, "with --state or $SIGHTLINE_STATE"},
		{"no plan yet", []string{"run", "--state", stateFolder(t)}, exitBadConfig, "name a pipeline file"},
		{"nobody runs", []string{"ps", "--state", stateFolder(t)}, exitFailed, "no supervisor is running"},
		{"unknown flag", []string{"run", "--fast"}, exitBadConfig, "--fast"},
		{"unknown command", []string{"rnu"}, exitBadConfig, "rnu"},
		{"no such runtime", []string{"plan", "--onnxruntime", "nowhere.so", write(t, wellFile)}, exitFailed, "nowhere.so"},
		{"nobody there", []string{"health", "--address", "127.0.0.1:1"}, exitFailed, "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command(c.args...)
			if status != c.status || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("status %d, want %d; stdout %q, stderr %q, want %q in them", status, c.status, stdout, stderr, c.says)
			}
			if strings.Contains(stdout+stderr, "p#ss") {
				t.Error("shows the password")
			}
		})
	}
}

func TestDoctorTriesWhatThisMachineHas(t *testing.T) {
	requireRuntime(t)
	status, stdout, stderr := command("doctor", "--stages", t.TempDir())
	if status != exitWell {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, part := range []string{"h264 by software", "provider cpu", "provider cuda", "inline: in sightline itself", "process: Linux", "protects by", "sightline-capture is not there"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
}

// stateFolder is a state folder with a path short enough for one.
func stateFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "state")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeState(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
