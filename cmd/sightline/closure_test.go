package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/closure"
)

func TestClosureShowListsWhatAStageConsistsOf(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	file, stages := write(t, wellFile), stagePrograms(t)
	status, stdout, stderr := command("closure", "show", "--stages", stages, file, "scene")
	if status != exitWell {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, part := range []string{"classify stage scene, for linux/", "digest  sha256:", "/lib/libonnxruntime.so", "needed by", "total", "/stage", "made here"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
	status, stdout, stderr = command("closure", "show", "--json", "--stages", stages, file, "scene")
	var got struct {
		Stage, Kind, Digest, Platform string
		Size                          int64
		Files                         []struct{ Path, Kind, SHA256, From string }
	}
	if err := json.Unmarshal([]byte(stdout), &got); status != exitWell || err != nil {
		t.Fatalf("status %d: %s, %v", status, stderr, err)
	}
	if got.Stage != "scene" || got.Kind != "classify" || !strings.HasPrefix(got.Digest, "sha256:") || got.Size == 0 || len(got.Files) < 4 {
		t.Errorf("%+v", got)
	}
	if strings.Contains(stdout, "p#ss") {
		t.Error("shows the password")
	}
}

func TestClosureOfWhatHasNoneIsRefused(t *testing.T) {
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	file := write(t, wellFile)
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"show", file, "scen"}, exitBadConfig, `no stage "scen" (did you mean scene?)`},
		{[]string{"show", file, "out"}, exitBadConfig, "runs inline and has no closure"},
		{[]string{"show", file}, exitBadConfig, "usage: sightline closure show FILE STAGE"},
		{[]string{"show", "--stages", t.TempDir(), file, "gate"}, exitFailed, "sightline-capture is not there"},
		{[]string{"export", file, "gate"}, exitBadConfig, "add -o PATH"},
		{[]string{"export", file, "gate", "-o", "x", "--format", "zip"}, exitBadConfig, "not one of oci, tar"},
		{[]string{"export", file, "gate", "-o", "x", "--format", "initramfs"}, exitBadConfig, "--init"},
		{[]string{"exprot"}, exitBadConfig, "exprot"},
	} {
		status, stdout, stderr := command(append([]string{"closure"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: status %d, stdout %q, stderr %q, want %q", c.args, status, stdout, stderr, c.says)
		}
	}
}

// export runs one export of the publish stage.
func export(t *testing.T, args ...string) (status int, stderr string) {
	t.Helper()
	text := strings.Replace(wellFile, `jsonl: {path: "-"}`, `mqtt: {url: "mqtt://127.0.0.1:1"}`, 1)
	status, _, stderr = command(append([]string{"closure", "export", "--stages", stagePrograms(t), write(t, text), "out", "-o"}, args...)...)
	return status, stderr
}

func TestExportsAreTheSameEachTimeAndReadByOthers(t *testing.T) {
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	stages := stagePrograms(t)
	for _, c := range []struct {
		path, format string
		list         []string // a command that reads the file or folder, and lists the program
	}{
		{"image.tar", "oci", []string{"tar", "-tf", "PATH"}},
		{"root.tar", "tar", []string{"tar", "-tf", "PATH"}},
		{"guest.cpio", "initramfs", []string{"sh", "-c", "cpio -it <PATH"}},
		{"disk", "disk", []string{"/sbin/debugfs", "-R", "ls -p /", "PATH"}},
		{"layout", "oci", []string{"find", "PATH"}},
		{"root", "tar", []string{"find", "PATH"}},
		{"bundle", "bundle", []string{"find", "PATH"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			var digests []string
			for range 2 {
				at := filepath.Join(t.TempDir(), c.path)
				t.Cleanup(func() { _ = closure.RemoveTree(at) })
				if status, stderr := export(t, at, "--format", c.format, "--init", filepath.Join(stages, "sightline-publish")); status != exitWell {
					t.Fatalf("status %d: %s", status, stderr)
				}
				sum := exec.Command("sh", "-c", `find . -type f -printf '%P %m ' -exec sha256sum {} \; | sort | sha256sum`)
				sum.Dir = filepath.Dir(at)
				out, err := sum.Output()
				if err != nil {
					t.Fatal(err)
				}
				digests = append(digests, string(out))
				listed(t, c.list, at, c.format)
			}
			if digests[0] != digests[1] {
				t.Error("not the same bytes")
			}
		})
	}
}

func listed(t *testing.T, list []string, at, format string) {
	t.Helper()
	if _, err := exec.LookPath(list[0]); err != nil {
		t.Logf("not listed: %v", err)
		return
	}
	line := make([]string, len(list))
	for i, word := range list {
		line[i] = strings.ReplaceAll(word, "PATH", at)
	}
	want := "stage"
	if format == "oci" {
		want = "oci-layout"
	}
	if out, err := exec.Command(line[0], line[1:]...).Output(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%q: %v\n%s", line, err, out)
	}
}

func TestExportsWriteOverNothingButExports(t *testing.T) {
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	dir := t.TempDir()
	file, folder, foreign := filepath.Join(dir, "a.tar"), filepath.Join(dir, "layout"), filepath.Join(dir, "foreign")
	if err := os.MkdirAll(filepath.Join(foreign, "photos"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closure.RemoveTree(folder) })
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"new file", []string{file}, exitWell, ""},
		{"file again", []string{file}, exitBadConfig, "add --force"},
		{"file by force", []string{file, "--force"}, exitWell, ""},
		{"new folder", []string{folder}, exitWell, ""},
		{"folder again", []string{folder}, exitBadConfig, "add --force"},
		{"folder by force, of another format", []string{folder, "--force", "--format", "tar"}, exitWell, ""},
		{"read-only folder by force", []string{folder, "--force"}, exitWell, ""},
		{"a file in place of a folder", []string{folder, "--force", "--format", "disk"}, exitBadConfig, "was not exported"},
		{"someone's folder", []string{foreign, "--force"}, exitBadConfig, "was not exported"},
		{"nowhere", []string{filepath.Join(dir, "none", "a.tar")}, exitFailed, "no such file"},
	} {
		if status, stderr := export(t, c.args...); status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d, %s", c.name, status, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(foreign, "photos")); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*"+closure.DraftSuffix+"*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
