package unikernel

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// room is a place for one box, and its supervisor's end of the wire.
type room struct {
	t    *testing.T
	spec driver.Spec
	log  *lines
	wire *net.UnixListener
}

// works returns the driver, or skips with the probe's reason.
func works(t *testing.T, arch string) *Driver {
	t.Helper()
	d := &Driver{Arch: arch}
	if p := d.Probe(t.Context()); p.Err != nil {
		t.Skipf("no unikernel box runs here: %v", p.Err)
	}
	return d
}

func newRoom(t *testing.T, id string, files driver.Files) *room {
	t.Helper()
	dir, err := os.MkdirTemp("", "box") // short: paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &room{t: t, log: &lines{}}
	r.spec = driver.Spec{
		ID: fmt.Sprintf("unikernel-%d-%s", os.Getpid(), id), Stage: "test", Files: files, Program: []string{closure.ProgramPath},
		Dir: dir, Socket: filepath.Join(dir, "wire.sock"), Log: r.log,
	}
	if r.wire, err = net.ListenUnix("unix", &net.UnixAddr{Name: r.spec.Socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.wire.Close() })
	return r
}

// start starts a box that ends with the test at the latest.
func (r *room) start(d *Driver) driver.Box {
	r.t.Helper()
	b, err := d.Start(r.t.Context(), r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := b.Stop(context.Background(), 0); err != nil {
			r.t.Error(err)
		}
		if r.t.Failed() {
			r.t.Logf("box ended with %s after printing\n%s", b.Exit(), r.log)
		}
	})
	return b
}

// hello takes the wire and the stage's first line, and returns how to ask for more.
func (r *room) hello() (ask func(string) string) {
	r.t.Helper()
	if err := r.wire.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	conn, err := r.wire.Accept()
	if err != nil {
		r.t.Fatalf("no hello: %v", err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	read := func() string {
		line, err := in.ReadString('\n')
		if err != nil {
			r.t.Fatalf("the stage says nothing more: %v", err)
		}
		return strings.TrimSpace(line)
	}
	if line := read(); !strings.HasPrefix(line, "hello ") {
		r.t.Fatalf("the stage says %q", line)
	}
	return func(line string) string {
		if _, err := fmt.Fprintln(conn, line); err != nil {
			r.t.Fatal(err)
		}
		return read()
	}
}

// stage returns the closure of the suite's program.
func stage(t *testing.T, arch string) driver.Files {
	t.Helper()
	return drivertest.Closure(t, closure.Spec{Program: drivertest.BuildStage(t, arch)})
}
