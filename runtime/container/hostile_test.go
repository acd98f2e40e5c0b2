package container

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/container/enginetest"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// engines are those that the tests of this package run on.
func engines() map[string]func(testing.TB) *enginetest.Engine {
	return map[string]func(testing.TB) *enginetest.Engine{
		"Docker": func(t testing.TB) *enginetest.Engine { return enginetest.Docker(t) },
		"Podman": enginetest.Podman,
	}
}

// place has a closure of the suite's stage, and rooms for boxes of it.
type place struct {
	t      *testing.T
	engine *enginetest.Engine
	driver *Driver
	files  driver.Files
}

func newPlace(t *testing.T, e *enginetest.Engine) *place {
	t.Helper()
	d := &Driver{Host: e.Host}
	if p := d.Probe(t.Context()); p.Err != nil {
		t.Skip(p.Err)
	}
	return &place{t, e, d, drivertest.Closure(t, closure.Spec{Program: drivertest.BuildStage(t, "")})}
}

// in returns the place for a test within its test.
func (p *place) in(t *testing.T) *place {
	inner := *p
	inner.t = t
	return &inner
}

// spec makes a room for a box.
func (p *place) spec(id string) (driver.Spec, *output) {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "box")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { os.RemoveAll(dir) })
	out := &output{}
	return driver.Spec{
		ID: id, Stage: "test", Files: p.files, Program: []string{closure.ProgramPath}, Dir: dir,
		Socket: filepath.Join(dir, "wire.sock"), Log: out,
	}, out
}

// running is a box with its wire.
type running struct {
	driver.Box
	t    *testing.T
	spec driver.Spec
	log  *output
	wire net.Conn
	in   *bufio.Reader
}

// start starts a box and takes its hello. It is killed at the end of the test.
func (p *place) start(id string) *running {
	p.t.Helper()
	spec, out := p.spec(id)
	r := &running{t: p.t, spec: spec, log: out}
	wire := r.listen()
	box, err := p.driver.Start(p.t.Context(), spec)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Box = box
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := box.Stop(ctx, 0); err != nil {
			p.t.Error(err)
		}
	})
	r.accept(wire)
	return r
}

func (r *running) listen() *net.UnixListener {
	r.t.Helper()
	_ = os.Remove(r.spec.Socket) // of the supervisor before
	wire, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.spec.Socket, Net: "unix"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { wire.Close() })
	return wire
}

func (r *running) accept(wire *net.UnixListener) {
	r.t.Helper()
	if err := wire.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	conn, err := wire.Accept()
	if err != nil {
		r.t.Fatalf("no hello: %v; it printed\n%s", err, r.log)
	}
	r.t.Cleanup(func() { conn.Close() })
	r.wire, r.in = conn, bufio.NewReader(conn)
	if hello, err := r.in.ReadString('\n'); err != nil || !strings.HasPrefix(hello, "hello ") {
		r.t.Fatalf("says %q (%v)", hello, err)
	}
}

// ask returns the answer of the stage to a line.
func (r *running) ask(format string, args ...any) (answer string, ok bool) {
	r.t.Helper()
	if _, err := fmt.Fprintf(r.wire, format+"\n", args...); err != nil {
		r.t.Fatal(err)
	}
	answer, err := r.in.ReadString('\n')
	if err != nil {
		r.t.Fatalf("%s: %v", format, err)
	}
	return strings.TrimSpace(answer), !strings.HasPrefix(answer, "error: ")
}

// ended awaits the end.
func (r *running) ended() driver.Exit {
	r.t.Helper()
	select {
	case <-r.Done():
	case <-time.After(patience):
		r.t.Fatal("the box doesn't end")
	}
	return r.Exit()
}

// output is a log.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits for what the log must come to have.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	until := time.Now().Add(patience)
	for !strings.Contains(o.String(), text) {
		if time.Now().After(until) {
			t.Fatalf("no %q in the log, but\n%s", text, o)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var _ io.Writer = (*output)(nil)

func TestAHostileBoxIsKeptIn(t *testing.T) {
	for name, engine := range engines() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, engine(t))
			r := p.start("hostile")
			t.Run("it writes nowhere", func(t *testing.T) { testWritesNowhere(t, r) })
			t.Run("it has loopback and no other interface", func(t *testing.T) { testInterfaces(t, r) })
			t.Run("it has no capabilities and a filter", func(t *testing.T) { testStatus(t, r) })
			t.Run("what is mounted is read-only or the kernel's", func(t *testing.T) { testMounts(t, r) })
			t.Run("it has no environment of others", func(t *testing.T) { testEnvironment(t, r) })
			t.Run("it can't list or change the folder of its wire", func(t *testing.T) { testWireFolder(t, r) })
		})
	}
}

func testWritesNowhere(t *testing.T, r *running) {
	for _, dir := range []string{"/", "/dev", "/dev/shm", "/dev/mqueue/..", "/etc", "/run", "/tmp", "/var/tmp", "/var", WireFolder, "/proc", "/proc/sys/kernel", "/sys", "/sys/fs/cgroup", "/lib", "/root"} {
		if answer, ok := r.ask("write %s", dir+"/new"); ok {
			t.Errorf("writes in %s: %s", dir, answer)
		}
	}
	for _, file := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/1/oom_score_adj/x", "/dev/kmsg", "/dev/mem", WireFolder + "/" + logFile} {
		if answer, ok := r.ask("write %s", file); ok {
			t.Errorf("opens %s to write: %s", file, answer)
		}
	}
}

func testInterfaces(t *testing.T, r *running) {
	names, ok := r.ask("list /sys/class/net")
	if !ok || names != "lo" {
		t.Errorf("interfaces: %s", names)
	}
}

func testStatus(t *testing.T, r *running) {
	status := statusOf(t, r)
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, "\n"+want+"\n") {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	if strings.Contains(status, "\nUid:\t0\t") || strings.Contains(status, "\nGroups:\t0 ") {
		t.Errorf("it is root:\n%s", status)
	}
}

// pidOf returns the box's process as this machine sees it.
func pidOf(t *testing.T, r *running) int {
	t.Helper()
	b, ok := r.Box.(*box)
	if !ok {
		t.Fatal("not this package's box")
	}
	got, err := b.engine.inspect(t.Context(), b.container)
	if err != nil || got.State.Pid <= 1 {
		t.Fatalf("process %v (%v)", got.State, err)
	}
	return got.State.Pid
}

// statusOf returns what the kernel says of the box's process.
func statusOf(t *testing.T, r *running) string { return procFile(t, r, "status") }

func procFile(t *testing.T, r *running, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pidOf(t, r), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func testMounts(t *testing.T, r *running) {
	for line := range strings.Lines(procFile(t, r, "mountinfo")) {
		front, back, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(front), strings.Fields(back)
		at, options := fields[4], ","+fields[5]+","
		switch kind[0] {
		case "proc", "devpts", "mqueue":
			continue
		case "tmpfs":
			if at == "/dev" || strings.HasPrefix(at, "/proc/") || at == "/sys/fs/cgroup" {
				continue // is root's
			}
		}
		if !strings.Contains(options, ",ro,") {
			t.Errorf("%s is not read-only: %s", at, line)
		}
	}
}

func testEnvironment(t *testing.T, r *running) {
	for variable := range strings.SplitSeq(procFile(t, r, "environ"), "\x00") {
		if name, value, _ := strings.Cut(variable, "="); value != "" && name != "HOME" {
			t.Errorf("has %q", variable)
		}
	}
}

func testWireFolder(t *testing.T, r *running) {
	if names, ok := r.ask("list %s", WireFolder); ok {
		t.Errorf("lists %s: %s", WireFolder, names)
	}
	if text, ok := r.ask("read %s/%s", WireFolder, logFile); ok {
		t.Errorf("reads the driver's note: %s", text)
	}
	info, err := os.Stat(r.spec.Dir)
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("others come through %s: %v (%v)", r.spec.Dir, info.Mode(), err)
	}
}
