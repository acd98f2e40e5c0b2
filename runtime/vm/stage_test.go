package vm

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/qemu"
)

// stagePatience is how long a translated guest may take on a machine with other work.
const stagePatience = 5 * time.Minute

// stageSpec is a box of the suite's stage, with its supervisor's listener.
func stageSpec(t *testing.T, arch string) (driver.Spec, *net.UnixListener, *lines) {
	t.Helper()
	dir, err := os.MkdirTemp("", "box")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := newLines()
	spec := driver.Spec{
		ID: fmt.Sprintf("stage-%d-%s", os.Getpid(), arch), Stage: "stage", Program: []string{closure.ProgramPath, "one"}, Dir: dir,
		Files: drivertest.Closure(t, closure.Spec{Program: drivertest.BuildStage(t, arch)}), Socket: filepath.Join(dir, "wire.sock"), Log: log,
	}
	wire, err := net.ListenUnix("unix", &net.UnixAddr{Name: spec.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wire.Close() })
	return spec, wire, log
}

// greeted starts a box and takes its hello.
func greeted(t *testing.T, d *Driver, spec driver.Spec, wire *net.UnixListener) (driver.Box, net.Conn) {
	t.Helper()
	begin := time.Now()
	b, err := d.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(t.Context(), 0); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		<-b.Done()
	})
	if err := wire.SetDeadline(time.Now().Add(stagePatience)); err != nil {
		t.Fatal(err)
	}
	conn, err := wire.Accept()
	if err != nil {
		t.Fatal(err, spec.Log)
	}
	t.Cleanup(func() { conn.Close() })
	hello, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(hello, "hello ") {
		t.Fatalf("%q, %v; it printed\n%s", hello, err, spec.Log)
	}
	usage, err := b.(driver.Sampler).Sample(t.Context())
	t.Logf("hello after %v; QEMU has %d MiB and took %v of the processors (%v)", time.Since(begin), usage.Memory>>20, usage.CPU, err)
	return b, conn
}

func ended(t *testing.T, b driver.Box) driver.Exit {
	t.Helper()
	select {
	case <-b.Done():
	case <-time.After(stagePatience):
		t.Fatal("the box doesn't end")
	}
	return b.Exit()
}

func TestAStageRunsOnVirt(t *testing.T) {
	d := driverFor("arm64")
	if _, err := d.host(t.Context()); err != nil {
		t.Skip(err)
	}
	spec, wire, log := stageSpec(t, "arm64")
	b, conn := greeted(t, d, spec, wire)
	if _, err := fmt.Fprintln(conn, "print from virt\nexit 3"); err != nil {
		t.Fatal(err)
	}
	if exit := ended(t, b); exit != (driver.Exit{Code: 3}) {
		t.Errorf("exit is %q", exit)
	}
	log.await(t, "from\n")
}

func TestAStageForAnotherMachineIsRefused(t *testing.T) {
	d := newDriver().(*Driver)
	if _, err := d.host(t.Context()); err != nil {
		t.Skip(err)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[d.arch()]
	spec, _, _ := stageSpec(t, other)
	if b, err := d.Start(t.Context(), spec); err == nil {
		_ = b.Stop(t.Context(), 0)
		t.Error("it starts")
	} else if !strings.Contains(err.Error(), "linux/"+other) {
		t.Error(err)
	}
}

func TestAnEndOfQEMUIsNoExitOfTheStage(t *testing.T) {
	d := newDriver().(*Driver)
	if _, err := d.host(t.Context()); err != nil {
		t.Skip(err)
	}
	spec, wire, _ := stageSpec(t, d.arch())
	b, _ := greeted(t, d, spec, wire)
	if err := syscall.Kill(b.(*box).PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := ended(t, b); exit.Code != -1 || exit.Signal != "SIGKILL" || !strings.Contains(exit.Reason, "QEMU") {
		t.Errorf("exit is %q", exit)
	}
	if _, err := d.Recover(t.Context(), spec); !errors.Is(err, driver.ErrGone) {
		t.Error(err)
	}
}

func TestAGuestGetsNoMoreOfTheProcessors(t *testing.T) {
	const most = 0.2
	r := guestRuns(t, Guest{Disk: image(t, true), Format: qemu.Raw, Machine: qemu.Q35, Memory: 16 << 20})
	r.spec.Limits.CPUs = most
	var refused *driver.RefusedError
	if err := r.driver.Check(r.spec); errors.As(err, &refused) {
		t.Skip(refused)
	}
	b := r.start()
	r.log.await(t, "boot 1\n") // and looks for its button without a pause
	sampler := b.(driver.Sampler)
	begin := time.Now()
	before, err := sampler.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // what is measured
	after, err := sampler.Sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := (after.CPU - before.CPU).Seconds() / time.Since(begin).Seconds(); got > 1.5*most {
		t.Errorf("used %.2f processors with a limit of %g", got, most)
	}
}
