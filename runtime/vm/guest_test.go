package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// bootSector is testdata/disk.s.txt, a system of one sector: it counts its boots on the disk, prints
// the count, and turns itself off when the power button is pressed, unless its byte 509 is set.
var bootSector = []byte{
	0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xb8, 0x01, 0x02, 0xe8, 0x44,
	0x00, 0xfe, 0x06, 0x00, 0x7e, 0xb8, 0x01, 0x03, 0xe8, 0x3a, 0x00, 0xbe, 0x7b, 0x7c, 0xe8, 0x40,
	0x00, 0xa0, 0x00, 0x7e, 0x04, 0x30, 0xe8, 0x43, 0x00, 0xb0, 0x0a, 0xe8, 0x3e, 0x00, 0xba, 0x02,
	0x06, 0xb8, 0x00, 0x01, 0xef, 0xba, 0x00, 0x06, 0xed, 0xa9, 0x00, 0x01, 0x74, 0xf7, 0x80, 0x3e,
	0xfd, 0x7d, 0x00, 0x75, 0xf0, 0xbe, 0x81, 0x7c, 0xe8, 0x16, 0x00, 0xba, 0x04, 0x06, 0xb8, 0x00,
	0x20, 0xef, 0xf4, 0xeb, 0xfd, 0xb9, 0x02, 0x00, 0xba, 0x80, 0x00, 0xbb, 0x00, 0x7e, 0xcd, 0x13,
	0xc3, 0xac, 0x84, 0xc0, 0x74, 0x05, 0xe8, 0x03, 0x00, 0xeb, 0xf6, 0xc3, 0x50, 0xba, 0xfd, 0x03,
	0xec, 0xa8, 0x20, 0x74, 0xfb, 0x58, 0xba, 0xf8, 0x03, 0xee, 0xc3, 0x62, 0x6f, 0x6f, 0x74, 0x20,
	0x00, 0x62, 0x75, 0x74, 0x74, 0x6f, 0x6e, 0x0a, 0x00,
}

const heedless = 509

// image makes a disk image with the system on it.
func image(t *testing.T, ignores bool) string {
	t.Helper()
	data := make([]byte, 1<<20)
	copy(data, bootSector)
	if ignores {
		data[heedless] = 1
	}
	data[510], data[511] = 0x55, 0xaa
	name := filepath.Join(t.TempDir(), "system, old=1.img")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// guestPatience is how long the guest may take.
const guestPatience = 10 * time.Minute

// runs are the starts of one guest.
type runs struct {
	t      *testing.T
	driver *GuestDriver
	spec   driver.Spec
	log    *lines
}

func guestRuns(t *testing.T, g Guest) *runs {
	t.Helper()
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &GuestDriver{Guest: g}
	if p := d.Probe(t.Context()); p.Err != nil {
		t.Skip(p.Err)
	}
	log := newLines()
	return &runs{t, d, driver.Spec{ID: fmt.Sprintf("guest-%d", os.Getpid()), Stage: "old", Dir: dir, Log: log}, log}
}

func (r *runs) start() driver.Box {
	r.t.Helper()
	b, err := r.driver.Start(r.t.Context(), r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.owns(b)
	return b
}

func (r *runs) owns(b driver.Box) {
	r.t.Cleanup(func() {
		if err := b.Stop(context.Background(), 0); err != nil {
			r.t.Error(err)
		}
	})
}

// stops stops the guest and returns how it ended; nothing is left of it then.
func (r *runs) stops(b driver.Box, grace time.Duration) driver.Exit {
	r.t.Helper()
	if err := b.Stop(r.t.Context(), grace); err != nil {
		r.t.Fatal(err)
	}
	if entries, err := os.ReadDir(r.spec.Dir); err != nil || len(entries) > 0 {
		r.t.Errorf("left in the folder of the guest: %v (%v)", entries, err)
	}
	for _, what := range left(r.spec) {
		r.t.Errorf("left of the guest: %s", what)
	}
	return b.Exit()
}

func TestAGuestBootsFromItsDiskAndKeepsWhatItWrites(t *testing.T) {
	for _, machine := range []qemu.Machine{qemu.Q35, qemu.PC} {
		t.Run(string(machine), func(t *testing.T) {
			r := guestRuns(t, Guest{Disk: image(t, false), Format: qemu.Raw, Machine: machine, Memory: 16 << 20})
			for i := range 2 {
				b := r.start()
				r.log.await(t, fmt.Sprintf("boot %d\n", i+1))
				if exit := r.stops(b, guestPatience); exit != (driver.Exit{Reason: "guest-shutdown"}) {
					t.Errorf("exit is %q", exit)
				}
				r.log.await(t, "button\n")
			}
		})
	}
}

func TestASnapshotLeavesTheImageAsItIs(t *testing.T) {
	name := image(t, false)
	if err := os.Chmod(name, 0o400); err != nil {
		t.Fatal(err)
	}
	r := guestRuns(t, Guest{Disk: name, Format: qemu.Raw, Snapshot: true, Machine: qemu.Q35, Memory: 16 << 20})
	for range 2 {
		b := r.start()
		r.log.await(t, "boot 1\n")
		r.stops(b, guestPatience)
		r.log.clear()
	}
}

func TestAGuestOfQcow2Boots(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip(err)
	}
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	if out, err := exec.CommandContext(t.Context(), tool, "convert", "-f", "raw", "-O", "qcow2", image(t, false), name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := guestRuns(t, Guest{Disk: name, Format: qemu.Qcow2, Machine: qemu.Q35, Memory: 16 << 20})
	b := r.start()
	r.log.await(t, "boot 1\n")
	r.stops(b, guestPatience)
}

func TestAGuestThatIgnoresItsButtonIsEndedByForce(t *testing.T) {
	r := guestRuns(t, Guest{Disk: image(t, true), Format: qemu.Raw, Machine: qemu.Q35, Memory: 16 << 20})
	b := r.start()
	r.log.await(t, "boot 1\n")
	if exit := r.stops(b, 100*time.Millisecond); exit.Reason != "killed by force" || exit.Code == 0 {
		t.Errorf("exit is %q", exit)
	}
}

// guestArgument has this program start a guest and wait to be killed.
const guestArgument = "sightline-guest-supervise"

// superviseGuest starts a guest as a supervisor in another process does.
func superviseGuest(dir, id, disk string) int {
	d := &GuestDriver{Guest: Guest{Disk: disk, Format: qemu.Raw, Machine: qemu.Q35, Memory: 16 << 20}}
	if _, err := d.Start(context.Background(), driver.Spec{ID: id, Dir: dir, Log: os.Stdout}); err != nil {
		fmt.Println(err)
		return 1
	}
	select {}
}

func TestAGuestOutlivesItsSupervisor(t *testing.T) {
	disk := image(t, false)
	r := guestRuns(t, Guest{Disk: disk, Format: qemu.Raw, Machine: qemu.Q35, Memory: 16 << 20})
	first := exec.Command("/proc/self/exe", guestArgument, r.spec.Dir, r.spec.ID, disk)
	out, err := first.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for said := bufio.NewScanner(out); said.Scan() && !strings.Contains(said.Text(), "boot 1"); {
		t.Log(said.Text())
	}
	if err := errors.Join(first.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	b, err := r.driver.Recover(t.Context(), r.spec)
	if err != nil {
		t.Fatal(err)
	}
	r.owns(b)
	if usage, err := b.(driver.Sampler).Sample(t.Context()); err != nil || usage.Memory < 1<<20 || usage.CPU == 0 {
		t.Errorf("measured %+v, %v", usage, err)
	}
	if exit := r.stops(b, guestPatience); exit != (driver.Exit{Reason: "guest-shutdown"}) {
		t.Errorf("exit is %q", exit)
	}
	r.log.await(t, "button\n")
	if _, err := r.driver.Recover(t.Context(), r.spec); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovering what has ended: %v", err)
	}
}

func TestWhatAGuestCantBeIsRefused(t *testing.T) {
	good := Guest{Disk: image(t, false), Format: qemu.Raw, Machine: qemu.Q35, Memory: 16 << 20}
	for name, c := range map[string]struct {
		change func(*Guest, *driver.Spec)
		says   string
	}{
		"the GPU":              {func(_ *Guest, s *driver.Spec) { s.GPU = true }, "refuses the GPU"},
		"processes":            {func(_ *Guest, s *driver.Spec) { s.Limits.PIDs = 20 }, "refuses a limit of 20"},
		"too little memory":    {func(_ *Guest, s *driver.Spec) { s.Limits.Memory = 1 << 20 }, "refuses a limit of 1048576"},
		"no such machine":      {func(g *Guest, _ *driver.Spec) { g.Machine = "microwave" }, "microwave"},
		"no such format":       {func(g *Guest, _ *driver.Spec) { g.Format = "vmdk" }, "vmdk"},
		"another format":       {func(g *Guest, _ *driver.Spec) { g.Format = qemu.Qcow2 }, "no qcow2"},
		"no disk":              {func(g *Guest, _ *driver.Spec) { g.Disk = filepath.Join(t.TempDir(), "none") }, "none"},
		"no ID":                {func(_ *Guest, s *driver.Spec) { s.ID = "../a" }, "ID"},
		"a bad grant":          {func(g *Guest, _ *driver.Spec) { g.Grants = []Grant{{Name: "A,b", Port: 1, Socket: "/s"}} }, "A,b"},
		"a grant without port": {func(g *Guest, _ *driver.Spec) { g.Grants = []Grant{{Name: "a", Socket: "/s"}} }, "forwarded"},
	} {
		t.Run(name, func(t *testing.T) {
			r := guestRuns(t, good)
			c.change(&r.driver.Guest, &r.spec)
			r.driver.found = nil
			b, err := r.driver.Start(t.Context(), r.spec)
			if err == nil {
				r.owns(b)
				t.Fatal("the guest starts")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q doesn't say %q", err, c.says)
			}
			if checked := r.driver.Check(r.spec); checked == nil || !strings.Contains(checked.Error(), c.says) {
				t.Errorf("check says %v", checked)
			}
			if entries, err := os.ReadDir(r.spec.Dir); err != nil || len(entries) > 0 {
				t.Errorf("left: %v (%v)", entries, err)
			}
		})
	}
}
