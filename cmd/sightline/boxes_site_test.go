package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/runtime/supervisor"
	"sightline/runtime/supervisor/audit"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/scene"
)

// programsFolder is what buildPrograms made.
var programsFolder string

// buildPrograms builds all programs as they are released, once for all tests of the run; TestMain
// removes the folder. With SIGHTLINE_TEST_PROGRAMS they are taken from there.
var buildPrograms = sync.OnceValues(func() (string, error) {
	if folder := os.Getenv("SIGHTLINE_TEST_PROGRAMS"); folder != "" {
		return folder, nil
	}
	folder, err := os.MkdirTemp("", "sightline-programs-")
	if err != nil {
		return "", err
	}
	programsFolder = folder
	if out, err := exec.Command("../../scripts/build", folder, "test").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return folder, nil
})

func programs(t *testing.T) string {
	t.Helper()
	folder, err := buildPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// site is a camera and a broker, each of which can go and come back, and a subscriber.
type site struct {
	cameraAt, brokerAt string
	seen               inbox
	killBroker         func()

	mu      sync.Mutex
	cameras []*film // in the order of time
}

// film is what one run of the camera showed.
type film struct {
	camera *camera.Camera
	stop   func()
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{cameraAt: freeAddress(t), brokerAt: freeAddress(t)}
	s.killBroker = startMosquitto(t, s.brokerAt)
	t.Cleanup(func() { s.killBroker() })
	s.seen.subscribe(t, s.brokerAt)
	s.film(t)
	t.Cleanup(func() { s.cut() })
	return s
}

// film starts the camera.
func (s *site) film(t *testing.T) {
	t.Helper()
	server := &sim.Server{Address: s.cameraAt, Username: "viewer", Password: cameraPassword}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	c := &camera.Camera{
		Server: server, Path: "gate", Scene: scene.Options{Seed: 2026, Width: 320, Height: 180},
		Encode: encode.Options{Codec: pipeline.H264, FPS: 10, BitRate: 300_000, GOP: 10},
	}
	if err := c.Open(); err != nil {
		server.Stop()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // ends with ctx, or when the server has gone
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cameras = append(s.cameras, &film{c, sync.OnceFunc(func() {
		server.Stop()
		cancel()
		<-done
	})})
	t.Cleanup(func() {
		s.cut()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// cut stops the camera.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.cameras {
		f.stop()
	}
}

// results returns what was published, in the order of its arrival, each once.
func (s *site) results() []pipeline.Result {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	var list []pipeline.Result
	ids := map[string]bool{}
	for _, r := range s.seen.results {
		if !ids[r.ID] {
			ids[r.ID] = true
			list = append(list, r)
		}
	}
	return list
}

// check holds what was published against what the camera saw.
func (s *site) check(t *testing.T) {
	t.Helper()
	right, settled := 0, 0
	results := s.results()
	for _, r := range results {
		if r.Device != "dev" || r.Source != "gate" || r.Stage != "scene" || r.Model.Name != "gate" || r.CaptureOrigin == "" || r.Published.IsZero() {
			t.Fatalf("result %+v", r)
		}
		truth := s.truth(r.Captured)
		if !truth.Settled || r.CaptureOrigin != pipeline.OriginSenderReport {
			continue
		}
		settled++
		if r.Top != nil && r.Top.Class == truth.Class {
			right++
		}
	}
	t.Logf("%d results, %d of %d of settled frames are right", len(results), right, settled)
	if settled == 0 || right*100 < settled*90 {
		t.Errorf("%d of %d results are right", right, settled)
	}
}

func (s *site) truth(at time.Time) scene.Truth {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Backward(s.cameras) {
		if !at.Before(f.camera.Taken(0)) {
			return f.camera.Truth(at)
		}
	}
	return scene.Truth{}
}

// device is a machine with a pipeline file and a state folder, on which `sightline run` is killed and
// started again.
type device struct {
	t        *testing.T
	patience time.Duration
	programs string
	stages   string // folder of other programs for stages; empty: the real ones
	folder   string
	log      lines // of all supervisors

	command *exec.Cmd
	ended   chan error
}

// deviceFile is the pipeline of a device; what runtime says follows.
const deviceFile = `version: 1
name: boxes
device: dev
grace: 10s
sources:
  gate:
    rtsp: {url: "rtsp://%s/gate", username: viewer, password: "${CAMERA_PASSWORD}", transport: tcp, stall: 10s}
    sample: {fps: 5}
    staleness: 30s
models:
  scene: {inputs: [gate], model: gate, threshold: 0.5}
sinks:
  cloud: {inputs: [scene], mqtt: {url: "mqtt://%s", timeout: 5s}}
http: {listen: "off"}
log: {level: debug}
`

// newDevice has the pipeline between the site's camera and broker.
func newDevice(t *testing.T, s *site, runtime string) *device {
	t.Helper()
	requireRuntime(t)
	folder, err := os.MkdirTemp("", "dev") // short: paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, patience: patience, programs: programs(t), folder: folder}
	t.Cleanup(d.scrap)
	d.write("front.yaml", fmt.Sprintf(deviceFile, s.cameraAt, s.brokerAt)+runtime)
	return d
}

func (d *device) path(name string) string { return filepath.Join(d.folder, name) }

func (d *device) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// edit replaces a part of the pipeline file.
func (d *device) edit(old, with string) {
	d.t.Helper()
	text, err := os.ReadFile(d.path("front.yaml"))
	if err != nil || !strings.Contains(string(text), old) {
		d.t.Fatalf("no %q in the file, %v", old, err)
	}
	d.write("front.yaml", strings.Replace(string(text), old, with, 1))
}

// sightline is a command line of the device's own program. The password of the camera is in the
// environment of those alone that read the file.
func (d *device) sightline(args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(d.programs, "sightline"), args...)
	command.Dir = d.folder
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SIGHTLINE_") || strings.HasPrefix(variable, "SIGHTLINE_ONNXRUNTIME=") {
			command.Env = append(command.Env, variable)
		}
	}
	if slices.Contains(args, "front.yaml") {
		command.Env = append(command.Env, "CAMERA_PASSWORD="+cameraPassword)
	}
	command.Env = append(command.Env, "SIGHTLINE_STATE="+d.path("state"))
	if d.stages != "" {
		command.Env = append(command.Env, "SIGHTLINE_STAGES="+d.stages)
	}
	return command
}

// do runs one command line to its end.
func (d *device) do(args ...string) (out string, err error) {
	d.t.Helper()
	text, err := d.sightline(args...).CombinedOutput()
	if strings.Contains(string(text), "p#ss") {
		d.t.Errorf("sightline %s shows the password:\n%s", args[0], text)
	}
	return string(text), err
}

// must runs one command line that goes well.
func (d *device) must(args ...string) string {
	d.t.Helper()
	out, err := d.do(args...)
	if err != nil {
		d.t.Fatalf("sightline %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// run starts `sightline run`, with the file or without.
func (d *device) run(file ...string) {
	d.t.Helper()
	d.command = d.sightline(append([]string{"run"}, file...)...)
	d.command.Stdout, d.command.Stderr = &d.log, &d.log
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
	command, ended := d.command, make(chan error, 1)
	d.ended = ended
	go func() { ended <- command.Wait() }()
}

// kill ends the supervisor as kill -9 does.
func (d *device) kill() {
	d.t.Helper()
	if err := d.command.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	<-d.ended
	d.command = nil
}

// await waits for something, and fails when the supervisor ends before.
func (d *device) await(what string, is func() bool) {
	d.t.Helper()
	deadline, asked := time.Now().Add(d.patience), time.Now()
	for ; !is(); asked = pause(asked) {
		select {
		case err := <-d.ended:
			d.ended <- err
			d.t.Fatalf("the supervisor ended (%v) before: %s", err, what)
		default:
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("still not so after %s: %s\n%s", d.patience, what, d.must("ps"))
		}
	}
}

// pause waits until what is waited for is worth asking again. Some answers take a program to be started: these
// are asked for less often, as others want the processors. It returns when it is asked again.
func pause(asked time.Time) time.Time {
	time.Sleep(max(20*time.Millisecond, 2*time.Since(asked)))
	return time.Now()
}

// scrap ends what is left and removes the folder.
func (d *device) scrap() {
	if d.command != nil {
		_ = d.command.Process.Kill() // if it did not end by itself
		<-d.ended
	}
	if d.t.Failed() {
		d.t.Logf("the supervisors said:\n%s", tail(d.log.String(), 20_000))
	}
	if len(d.processes()) > 0 { // boxes outlive their supervisor
		d.run()
		time.AfterFunc(5*time.Second, func() { _ = d.command.Process.Signal(os.Interrupt) })
		<-d.ended
	}
	for _, pid := range d.processes() {
		d.t.Errorf("process %d is left: %s", pid, commandLine(pid))
	}
	if err := removeState(d.folder); err != nil {
		d.t.Error(err)
	}
}

func tail(text string, most int) string { return text[max(0, len(text)-most):] }

// states are what `sightline ps` says, by stage.
func (d *device) states() map[string]supervisor.State {
	d.t.Helper()
	var list []supervisor.State
	if err := json.Unmarshal([]byte(d.must("ps", "--json")), &list); err != nil {
		d.t.Fatal(err)
	}
	all := map[string]supervisor.State{}
	for _, s := range list {
		all[s.Stage] = s
	}
	return all
}

// boxes are the ids of the boxes that run, by stage.
func (d *device) boxes() map[string]string {
	d.t.Helper()
	ids := map[string]string{}
	for stage, s := range d.states() {
		ids[stage] = s.Box
	}
	return ids
}

// up waits until the supervisor answers and all stages run.
func (d *device) up() {
	d.t.Helper()
	d.await("the supervisor listens", func() bool { _, err := d.do("ps"); return err == nil })
	d.await("all stages run", func() bool {
		running := 0
		for _, s := range d.states() {
			if s.Phase == supervisor.Running {
				running++
			}
		}
		return running == 3
	})
}

// audit are the records of the audit log of one event, without the others.
func (d *device) audit(event string) []audit.Record {
	d.t.Helper()
	var list []audit.Record
	for line := range strings.Lines(d.must("audit", "show")) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			d.t.Fatalf("%q: %v", line, err)
		}
		if r.Event == event {
			list = append(list, r)
		}
	}
	return list
}

// stop ends the supervisor as the machine does at its own end, and checks that everything ended in order.
func (d *device) stop() {
	d.t.Helper()
	running := d.boxes()
	before := len(d.audit(supervisor.EndedBox))
	if err := d.command.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	select {
	case err := <-d.ended:
		if err != nil {
			d.t.Errorf("the supervisor ended with %v", err)
		}
	case <-time.After(d.patience):
		d.t.Fatal("the supervisor does not end")
	}
	d.command = nil
	var order []string
	for _, r := range d.audit(supervisor.EndedBox)[before:] {
		order = append(order, r.Fields["stage"])
		if r.Fields["reason"] != "asked" || r.Fields["box"] != running[r.Fields["stage"]] {
			d.t.Errorf("end %+v", r.Fields)
		}
	}
	if !slices.Equal(order, []string{"gate", "scene", "cloud"}) {
		d.t.Errorf("the stages ended in the order %q", order)
	}
	if out := d.must("audit", "verify"); !strings.Contains(out, "the chain holds") {
		d.t.Errorf("audit verify: %s", out)
	}
	d.clean()
}

// clean checks that nothing is left of any box.
func (d *device) clean() {
	d.t.Helper()
	for _, pid := range d.processes() {
		d.t.Errorf("process %d is left: %s", pid, commandLine(pid))
	}
	if left, err := filepath.Glob(d.path("state/boxes/*")); err != nil || len(left) > 0 {
		d.t.Errorf("left on disk: %q, %v", left, err)
	}
	if text := d.log.String(); strings.Contains(text, "p#ss") {
		d.t.Error("the password is in the log")
	}
}

var boxInAudit = regexp.MustCompile(`"box":"([^"]+)"`)

// processes finds the processes of all boxes that ever were: by their ids in cgroups or command lines,
// and those that process boxes have noted.
func (d *device) processes() []int {
	ids := map[string]bool{}
	files, _ := filepath.Glob(d.path("state/audit/*"))
	for _, file := range files {
		text, _ := os.ReadFile(file) // there is none when nothing was started
		for _, match := range boxInAudit.FindAllStringSubmatch(string(text), -1) {
			ids[match[1]] = true
		}
	}
	var found []int
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		groups, _ := os.ReadFile(name + "/cgroup") // gone meanwhile
		line, _ := os.ReadFile(name + "/cmdline")
		for id := range ids {
			if strings.Contains(string(groups)+string(line), id) {
				pid, _ := strconv.Atoi(filepath.Base(name))
				found = append(found, pid)
				break
			}
		}
	}
	return found
}

// pid is the process of a stage in a process box.
func (d *device) pid(stage string) int {
	d.t.Helper()
	var noted struct{ PID int }
	text, err := os.ReadFile(d.path("state/boxes/" + d.boxes()[stage] + "/process.json"))
	if err == nil {
		err = json.Unmarshal(text, &noted)
	}
	if err != nil || noted.PID == 0 {
		d.t.Fatalf("process of stage %s: %v in %s", stage, err, text)
	}
	return noted.PID
}

func commandLine(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(line), "\x00", " ")
}
