package container

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"sightline/runtime/closure"
	"sightline/runtime/closure/pack"
	"sightline/runtime/driver"
)

func TestHowAContainerEndedIsTold(t *testing.T) {
	state := func(code int, oom bool) *container.State { return &container.State{ExitCode: code, OOMKilled: oom} }
	for _, c := range []struct {
		state  *container.State
		away   time.Duration
		forced bool
		want   string
	}{
		{state(0, false), 0, false, "exit status 0"},
		{state(3, true), 0, false, "exit status 3"}, // a child of it was killed for memory
		{state(7, false), time.Second, false, "exit status 7 (its engine was gone or restarted, 1s before it was known)"},
		{state(137, true), 0, false, "killed by SIGKILL (out of memory)"},
		{state(137, false), 0, true, "killed by SIGKILL (killed by force)"},
		{state(137, false), 0, false, "killed by SIGKILL"},
		{state(139, false), 0, true, "killed by SIGSEGV"},
		{state(255, false), 0, false, "exit status 255"},
		{nil, 0, false, "ended, exit status not known (someone else removed its container)"},
	} {
		if got := exitOf(c.state, c.away, c.forced).String(); got != c.want {
			t.Errorf("%q instead of %q", got, c.want)
		}
	}
}

func TestTheKernelTellsWhichContainerItKilled(t *testing.T) {
	const id = "eefdef8e35a31cca4dc41026e08212519c1f16d5ad110ecc96b43e03b494d89a"
	message := "4,1,13728597040,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=libpod-x,mems_allowed=0,oom_memcg=/libpod_parent/libpod-" + id + ",task_memcg=/y,task=stage,pid=17026,uid=0\n"
	if !isKillOf([]byte(message), id) || isKillOf([]byte(message), strings.Repeat("0", 64)) || isKillOf([]byte(message), "") || isKillOf([]byte("6,2,3,-;"+id), id) {
		t.Error("mistaken")
	}
}

func TestWhatAnEngineSaysIsUnderstood(t *testing.T) {
	docker := factsOf(client.ServerVersionResult{Version: "28.1", APIVersion: "1.49"}, system.Info{
		CgroupVersion: "2", MemoryLimit: true, CPUCfsPeriod: true, SecurityOptions: []string{"name=seccomp,profile=builtin", "name=apparmor", "name=cgroupns", "name=userns"},
		DockerRootDir: "/var/lib/docker/231072.231072", Runtimes: map[string]system.RuntimeWithStatus{"runc": {}, "nvidia": {}},
	})
	if docker.name != "Docker Engine" || !docker.memory || docker.cpus || docker.pids || !docker.seccomp || !docker.appArmor || docker.idBase != 231072 || docker.rootless {
		t.Errorf("%+v", docker)
	}
	podman := factsOf(client.ServerVersionResult{Version: "5.0", Components: []system.ComponentVersion{{Name: "Podman Engine", Version: "5.0.1"}}}, system.Info{
		SecurityOptions: []string{"name=seccomp,profile=unconfined", "name=rootless"},
	})
	if podman.String() != "Podman 5.0.1" || !podman.podman || podman.seccomp || !podman.rootless {
		t.Errorf("%+v", podman)
	}
	for dir, want := range map[string]int{"/var/lib/docker/100000.100001": 100001, "/var/lib/docker": -1, "/a/1.x": -1, "/a/1.0": -1} {
		if got := idBaseOf(dir); got != want {
			t.Errorf("%s: %d", dir, got)
		}
	}
}

func TestALimitThatAnEngineCannotKeepIsRefused(t *testing.T) {
	e := &engine{facts: facts{name: "Docker Engine", version: "28", rootless: true, warnings: "No cpu cfs quota support", memory: true}}
	var refused *driver.RefusedError
	if err := e.checkLimits(driver.Limits{CPUs: 1}); !errors.As(err, &refused) || !strings.Contains(refused.Why, "No cpu cfs quota support") || !strings.Contains(refused.Instead, "delegate") {
		t.Error(err)
	}
	if err := e.checkLimits(driver.Limits{Memory: 64 << 20}); err != nil {
		t.Error(err)
	}
	if err := e.checkLimits(driver.Limits{Memory: leastMemory - 1}); !errors.As(err, &refused) {
		t.Error(err)
	}
}

func TestAnEngineThatLeavesOutWhatWasAskedForIsFoundOut(t *testing.T) {
	e := &engine{facts: facts{memory: true, cpus: true, pids: true, processors: 2}, gpu: &gpuTrial{}}
	spec := driver.Spec{ID: "a", Dir: "/d", Socket: "/d/s", Program: []string{"/stage"}, Files: &trialFiles{}, Limits: driver.Limits{Memory: 1 << 26, CPUs: 1, PIDs: 10}}
	want := e.settings(spec, "image", user{uid: 5, gid: 5})
	good := func() container.InspectResponse {
		again := e.settings(spec, "image", user{uid: 5, gid: 5})
		return container.InspectResponse{Config: again.Config, HostConfig: again.HostConfig}
	}
	if err := confirm(good(), want); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*container.InspectResponse){
		"network":    func(c *container.InspectResponse) { c.HostConfig.NetworkMode = "bridge" },
		"read-only":  func(c *container.InspectResponse) { c.HostConfig.ReadonlyRootfs = false },
		"privileges": func(c *container.InspectResponse) { c.HostConfig.CapDrop = nil },
		"user":       func(c *container.InspectResponse) { c.Config.User = "" },
		"memory":     func(c *container.InspectResponse) { c.HostConfig.Memory = 0 },
		"processors": func(c *container.InspectResponse) { c.HostConfig.NanoCPUs = 0 },
		"processes":  func(c *container.InspectResponse) { c.HostConfig.PidsLimit = nil },
		"restart":    func(c *container.InspectResponse) { c.HostConfig.RestartPolicy.Name = "always" },
	} {
		c := good()
		spoil(&c)
		if err := confirm(c, want); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// trial makes the files of a trial box, and its image.
func trial(t *testing.T) (*trialFiles, []byte) {
	t.Helper()
	files, err := makeTrialFiles(t.TempDir(), "/wire/wire")
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := (pack.Image{Name: "a"}).Pack(&image, files.manifest, files); err != nil {
		t.Fatal(err)
	}
	return files, image.Bytes()
}

func TestAnImageIsKnownByItsDocuments(t *testing.T) {
	files, image := trial(t)
	want, err := pack.Image{Name: "a"}.Identity(files.manifest, files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := identityOf(bytes.NewReader(image))
	if err != nil || got[0] != string(want.Config) || got[1] != string(want.Manifest) {
		t.Errorf("%q (%v) instead of %+v", got, err, want)
	}
	for _, bad := range [][]byte{nil, image[:1000], bytes.Repeat([]byte{0}, 2048)} {
		if got, err := identityOf(bytes.NewReader(bad)); err == nil {
			t.Errorf("%q", got)
		}
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`[{"Config":"blobs/sha256/00"}]`), []byte(`{"manifests":[{"digest":"sha256:00"}]}`))
	f.Fuzz(func(t *testing.T, images, index []byte) {
		var archive bytes.Buffer
		out := tar.NewWriter(&archive)
		for name, data := range map[string][]byte{"manifest.json": images, "index.json": index} {
			if err := out.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o444}); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		if ids, err := identityOf(&archive); err == nil && len(ids) != 2 {
			t.Errorf("%q", ids)
		}
	})
}

// rootOf is an archive of a file system as an engine lays it out.
func rootOf(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, header := range entries {
		if header.Typeflag == 0 {
			header.Typeflag = tar.TypeReg
		}
		data := []byte(header.Linkname)
		if header.Typeflag == tar.TypeReg {
			header.Size, header.Linkname = int64(len(data)), ""
		}
		if err := out.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if _, err := out.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	out.Close()
	return &archive
}

func TestWhatAnEngineLaysOutIsComparedWithTheClosure(t *testing.T) {
	m := &closure.Manifest{Files: []closure.File{
		{Path: "/lib/a", Size: 1, SHA256: closure.Sum([]byte("a"))}, {Path: "/lib/b", Link: "a"}, {Path: "/stage", Executable: true, Size: 2, SHA256: closure.Sum([]byte("st"))},
	}}
	// the text of a file stands in Linkname
	a, b, stage := tar.Header{Name: "/lib/a", Mode: 0o444, Linkname: "a"}, tar.Header{Name: "lib/b", Typeflag: tar.TypeSymlink, Linkname: "a"}, tar.Header{Name: "./stage", Mode: 0o555, Linkname: "st"}
	folder := tar.Header{Name: "/var/", Typeflag: tar.TypeDir, Mode: 0o755}
	hosts := tar.Header{Name: "/etc/hosts", Mode: 0o755}
	if err := compare(rootOf(t, folder, hosts, a, b, stage), m); err != nil {
		t.Error(err)
	}
	for want, entries := range map[string][]tar.Header{
		`"/stage" it is gone`:      {a, b},
		"its digest is":            {a, b, {Name: "/stage", Mode: 0o555, Linkname: "ts"}},
		"it has 3 bytes":           {a, b, {Name: "/stage", Mode: 0o555, Linkname: "sts"}},
		"its permissions are 4555": {a, b, {Name: "/stage", Mode: 0o4555, Linkname: "st"}},
		"it is no file":            {a, b, {Name: "/stage", Typeflag: tar.TypeSymlink, Linkname: "/lib/a"}},
		"it is no link":            {a, {Name: "/lib/b", Typeflag: tar.TypeSymlink, Linkname: "/x"}, stage},
		`"/etc/ld.so.preload" it is not in the closure`: {a, b, stage, {Name: "/etc/ld.so.preload", Linkname: "x"}},
		`"/etc/hosts" it is not`:                        {a, b, stage, {Name: "/etc/hosts", Typeflag: tar.TypeSymlink, Linkname: "/stage"}},
	} {
		if err := compare(rootOf(t, entries...), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func FuzzCompare(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = compare(bytes.NewReader(data), &closure.Manifest{Files: []closure.File{{Path: "/a"}}})
	})
}

func FuzzReadProgress(f *testing.F) {
	f.Add([]byte(`{"stream":"Loaded"}{"error":"no space left on device"}`))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = readProgress(bytes.NewReader(data)) })
}

func TestAnErrorWhileLoadingIsTold(t *testing.T) {
	if err := readProgress(strings.NewReader(`{"stream":"Loading"}{"errorDetail":{"message":"no space left on device"},"error":"x"}`)); err == nil || err.Error() != "no space left on device" {
		t.Error(err)
	}
	if err := readProgress(strings.NewReader(`{"stream":"Loaded image: a"}`)); err != nil {
		t.Error(err)
	}
}

func TestTheTrialProgramDials(t *testing.T) {
	for arch, emulator := range map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"} {
		t.Run(arch, func(t *testing.T) {
			var command []string
			if arch != runtime.GOARCH {
				if _, err := exec.LookPath(emulator); err != nil {
					t.Skip(err)
				}
				command = []string{emulator}
			}
			dir, err := os.MkdirTemp("", "dial")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			testDials(t, arch, dir, command)
		})
	}
}

func testDials(t *testing.T, arch, dir string, command []string) {
	socket, name := filepath.Join(dir, "wire"), filepath.Join(dir, "dialer")
	program, err := dialer(arch, socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elf.NewFile(bytes.NewReader(program)); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(name, program, 0o700); err != nil {
		t.Fatal(err)
	}
	command = append(command, name)
	var exit *exec.ExitError
	if err := exec.Command(command[0], command[1:]...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("without a socket: %v, not ENOENT", err)
	}
	wire, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	if err := exec.Command(command[0], command[1:]...).Run(); err != nil {
		t.Fatal(err)
	}
	conn, err := wire.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
