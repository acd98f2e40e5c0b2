// Package enginetest starts container engines for tests: each test has its own, on a socket and in
// folders of its own, with no network, and nothing of it is left when the test is over.
package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long an engine may take to start or to stop.
const patience = time.Minute

// Engine is a running engine.
type Engine struct {
	Host string // its address, unix://…
	// Client is the command line that drives it, to be followed by what to do.
	Client []string

	t       testing.TB
	dir     string
	cgroup  string
	command []string
	tidy    func()

	process *os.Process
	ended   chan struct{} // closed when process has ended
	log     *os.File
}

// Docker starts a Docker Engine. It skips the test, with the reason, where none can be started.
func Docker(t testing.TB, options ...string) *Engine {
	t.Helper()
	e := open(t, "dockerd", "docker")
	settings := e.path("settings") // instead of those of this machine
	if err := os.WriteFile(settings, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.command = append([]string{
		"dockerd", "-H", e.Host, "--data-root", e.path("data"), "--exec-root", e.path("exec"), "-p", e.path("pid"),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", "/" + e.cgroup, "--config-file", settings,
	}, options...)
	e.Client = []string{"docker", "-H", e.Host}
	e.Start()
	return e
}

// Podman starts Podman's service. It skips the test, with the reason, where it can't be started.
func Podman(t testing.TB) *Engine {
	t.Helper()
	e := open(t, "podman")
	e.Client = []string{
		"podman", "--root", e.path("root"), "--runroot", e.path("run"), "--tmpdir", e.path("tmp"),
		"--cgroup-manager=cgroupfs", "--events-backend=file",
	}
	e.command = slices.Concat(e.Client, []string{"system", "service", "--time=0", e.Host})
	e.tidy = func() {
		_, _ = e.Do("rm", "--all", "--force", "--time=0") // what can't be removed is found afterwards
	}
	e.Start()
	return e
}

// open makes the folder of an engine and has it removed, with all that the engine leaves.
func open(t testing.TB, programs ...string) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("only root can start %s for a test", programs[0])
	}
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%v: make setup-test installs it (where Debian has its own package docker-cli, that too)", err)
		}
	}
	dir, err := os.MkdirTemp("", "eng") // short: paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + dir + "/s", t: t, dir: dir, cgroup: "sightline-" + filepath.Base(dir)}
	t.Cleanup(e.close)
	return e
}

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }

// Start starts the engine, again if it was stopped or killed, and waits until it listens.
func (e *Engine) Start() {
	e.t.Helper()
	e.dropDead()
	log, err := os.OpenFile(e.path("log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	e.log = log
	started := make(chan error)
	e.ended = make(chan struct{})
	go func() {
		runtime.LockOSThread() // the engine is to end with this program: the kernel looks at the thread
		defer log.Close()
		command := exec.Command(e.command[0], e.command[1:]...)
		command.Stdout, command.Stderr = log, log
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
		err := command.Start()
		e.process = command.Process
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in its log
		}
		close(e.ended)
	}()
	if err := <-started; err != nil {
		e.t.Fatal(err)
	}
	e.awaitSocket()
}

// dropDead removes the note of the containerd that ended with a Docker Engine that was killed: until
// whoever inherited it reaps it, the next engine would take it for alive.
func (e *Engine) dropDead() {
	note := e.path("exec/containerd/containerd.pid")
	pid, err := os.ReadFile(note)
	if err != nil {
		return // there was none
	}
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/status")
		if err != nil || bytes.Contains(status, []byte("\nState:\tZ")) {
			os.Remove(note)
			return
		}
		time.Sleep(10 * time.Millisecond) // the kernel is about to kill it
	}
}

func (e *Engine) awaitSocket() {
	e.t.Helper()
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		if conn, err := net.Dial("unix", strings.TrimPrefix(e.Host, "unix://")); err == nil {
			conn.Close()
			return
		}
		select {
		case <-e.ended:
			e.t.Skipf("%s can't be started here:\n%s", e.command[0], e.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
	e.t.Fatalf("%s doesn't listen on %s:\n%s", e.command[0], e.Host, e.Log())
}

// Log returns the last of what the engine has printed.
func (e *Engine) Log() string {
	data, _ := os.ReadFile(e.path("log")) // for people
	return string(data[max(0, len(data)-4000):])
}

// Kill kills the engine, as kill -9 does. What it has started goes on.
func (e *Engine) Kill() {
	e.t.Helper()
	e.end(syscall.SIGKILL)
}

// Stop stops the engine, which may stop its containers.
func (e *Engine) Stop() {
	e.t.Helper()
	e.end(syscall.SIGTERM)
}

func (e *Engine) end(how syscall.Signal) {
	e.t.Helper()
	_ = e.process.Signal(how) // it may have ended
	select {
	case <-e.ended:
	case <-time.After(patience):
		_ = e.process.Kill()
		e.t.Errorf("%s doesn't end:\n%s", e.command[0], e.Log())
	}
}

// Do runs the engine's own client and returns what it prints.
func (e *Engine) Do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, e.Client[0], append(append([]string{}, e.Client[1:]...), args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// Containers returns the containers that the engine has, running or not, by their names.
func (e *Engine) Containers() []string {
	e.t.Helper()
	out, err := e.Do("ps", "--all", "--format", "{{.Names}}")
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.Fields(out)
}

// Admit lets other users come to the engine's socket, if its own permissions let them.
func (e *Engine) Admit() {
	e.t.Helper()
	if err := os.Chmod(e.dir, 0o711); err != nil {
		e.t.Fatal(err)
	}
}
