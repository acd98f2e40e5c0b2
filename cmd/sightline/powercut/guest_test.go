package powercut_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/pack"
)

// patience is how long the device may take for anything; it is translated.
const patience = 15 * time.Minute

// order and line are what testdata/init takes and says.
type order struct {
	Run    []string `json:",omitempty"`
	Start  []string `json:",omitempty"`
	World  bool     `json:",omitempty"`
	Read   string   `json:",omitempty"`
	Remove []string `json:",omitempty"`
	Write  string   `json:",omitempty"`
	List   string   `json:",omitempty"`
	Env    []string `json:",omitempty"`
}

type line struct {
	Answer, Ready      bool
	Acked, Out, Failed string
}

// machine is what all boots of the device have in common.
type machine struct {
	emulator, kernel, initramfs string
	folder                      string
	disk                        string // the newest image
	boots                       int
}

// guest is one boot of the device.
type guest struct {
	t       *testing.T
	command *exec.Cmd
	orders  io.WriteCloser
	answers chan line
	ended   chan struct{}
	console string

	mu    sync.Mutex
	acked []string
}

// newMachine finds what guests are made of, or skips.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{folder: t.TempDir()}
	var err error
	if m.emulator, err = exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("the device is a guest: ", err)
	}
	root := filepath.Join("/", os.Getenv("SIGHTLINE_TEST_GUEST"))
	found, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*cloud-amd64")) // the pattern is good
	if len(found) == 0 {
		t.Skipf("no cloud kernel in %s/boot: scripts/guest-kernel unpacks one, for SIGHTLINE_TEST_GUEST", root)
	}
	m.kernel = found[0]
	_, version, _ := strings.Cut(filepath.Base(m.kernel), "-")
	m.initramfs = filepath.Join(m.folder, "initramfs")
	m.pack(t, modules(t, filepath.Join(root, "lib/modules", version, "kernel/drivers")))
	return m
}

// modules are what a disk of virtio needs, in the order of loading.
func modules(t *testing.T, folder string) []pack.Extra {
	t.Helper()
	var list []pack.Extra
	for i, name := range []string{"virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci", "block/virtio_blk"} {
		data, err := os.ReadFile(filepath.Join(folder, name+".ko"))
		if err != nil {
			t.Skip("a module of the guest's kernel: ", err)
		}
		list = append(list, pack.Extra{Path: fmt.Sprintf("/modules/%d-%s.ko", i, filepath.Base(name)), Data: data})
	}
	return list
}

// pack makes the initramfs.
func (m *machine) pack(t *testing.T, extra []pack.Extra) {
	t.Helper()
	program := filepath.Join(m.folder, "init")
	build(t, program, "./testdata/init", "CGO_ENABLED=0")
	init, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	c, err := closure.Compute(closure.Spec{Program: program}) // an archive is of a stage too
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := (pack.Initramfs{Init: init, Extra: extra}).Pack(&archive, c.Manifest, c); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.initramfs, archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, program, source string, env ...string) {
	t.Helper()
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, source)
	c.Env = append(os.Environ(), env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", source, err, out)
	}
}

// boot starts the device on a layer of its own over the disk as it is. In a layer, what is written is
// found again only once the tables of the image say where it is, and QEMU writes these when the guest
// flushes: so what was not flushed is gone with QEMU, as it is with the power of a disk that caches.
func (m *machine) boot(t *testing.T) *guest {
	t.Helper()
	m.boots++
	layer := filepath.Join(m.folder, fmt.Sprintf("layer-%d.qcow2", m.boots))
	tool(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", m.disk, "-F", format(m.disk), layer)
	m.disk = layer
	g := &guest{
		t: t, answers: make(chan line, 1), ended: make(chan struct{}),
		console: filepath.Join(m.folder, fmt.Sprintf("console-%d.log", m.boots)),
	}
	g.command = exec.Command(m.emulator, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
		"-machine", "q35,hpet=on", "-accel", "tcg,thread=multi", "-cpu", "Nehalem", "-smp", "2", "-m", "1024",
		"-kernel", m.kernel, "-initrd", m.initramfs, "-append", words,
		"-drive", "if=none,id=d,format=qcow2,cache=writeback,file="+layer, "-device", "virtio-blk-pci,drive=d",
		"-serial", "file:"+g.console, "-serial", "stdio")
	var err error
	if g.orders, err = g.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	said, err := g.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.command.Stderr = os.Stderr
	if err := g.command.Start(); err != nil {
		t.Fatal(err)
	}
	go g.listen(said)
	t.Cleanup(g.scrap)
	if l := g.answer("boot"); !l.Ready {
		t.Fatalf("the device said %+v first", l)
	}
	return g
}

// words are what the kernel is told. Its clock is the one that does not depend on calibration.
const words = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off cryptomgr.notests no_timer_check clocksource=hpet tsc=unstable 8250.nr_uarts=2"

func format(image string) string {
	if filepath.Ext(image) == ".qcow2" {
		return "qcow2"
	}
	return "raw"
}

func (g *guest) listen(said io.Reader) {
	defer close(g.ended)
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l line
		switch err := json.Unmarshal(lines.Bytes(), &l); {
		case err != nil: // a line that the power cut tore
		case l.Acked != "":
			g.mu.Lock()
			g.acked = append(g.acked, l.Acked)
			g.mu.Unlock()
		default:
			g.answers <- l
		}
	}
}

func (g *guest) answer(what string) line {
	g.t.Helper()
	select {
	case l := <-g.answers:
		return l
	case <-g.ended:
		g.t.Fatalf("the device ended before the answer to %s", what)
	case <-time.After(patience):
		g.t.Fatalf("no answer to %s after %s", what, patience)
	}
	return line{}
}

// ask has the device do something.
func (g *guest) ask(o order) (out string, failed string) {
	g.t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.orders.Write(append(text, '\n')); err != nil {
		g.t.Fatal(err)
	}
	l := g.answer(string(text))
	return l.Out, l.Failed
}

// must has the device do something that goes well.
func (g *guest) must(o order) string {
	g.t.Helper()
	out, failed := g.ask(o)
	if failed != "" {
		g.t.Fatalf("%+v: %s\n%s", o, failed, out)
	}
	return out
}

// acknowledged are the results that the upstream has told of in this boot.
func (g *guest) acknowledged() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.acked)
}

// flow waits for n more results.
func (g *guest) flow(n int) {
	g.t.Helper()
	before := len(g.acknowledged())
	g.await(fmt.Sprintf("%d results", n), func() bool { return len(g.acknowledged()) >= before+n })
}

func (g *guest) await(what string, is func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("still not so after %s: %s", patience, what)
		}
		select {
		case <-g.ended:
			g.t.Fatalf("the device ended before: %s", what)
		default:
		}
	}
}

// cut takes the power away.
func (g *guest) cut() {
	g.t.Helper()
	if err := g.command.Process.Kill(); err != nil {
		g.t.Fatal(err)
	}
	took := g.wait()
	g.t.Logf("this boot took %s of the machine's processors", took.Round(time.Second))
}

// wait returns how long the guest had a processor of this machine.
func (g *guest) wait() time.Duration {
	<-g.ended
	_ = g.command.Wait() // it was killed, or says why by its console
	state := g.command.ProcessState
	g.command = nil
	return state.UserTime() + state.SystemTime()
}

func (g *guest) scrap() {
	if g.command != nil {
		_ = g.command.Process.Kill() // may have ended
		g.wait()
	}
	if g.t.Failed() {
		text, err := os.ReadFile(g.console)
		g.t.Logf("%s, %v:\n%s", filepath.Base(g.console), err, text[max(0, len(text)-12_000):])
	}
}
