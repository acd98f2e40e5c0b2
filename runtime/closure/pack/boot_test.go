package pack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sightline/runtime/closure"
)

// guestKernel finds an installed or, below SIGHTLINE_TEST_GUEST, an unpacked cloud kernel of Debian,
// and the modules that a disk of virtio needs, in the order of loading.
func guestKernel(t *testing.T) (kernel string, modules []Extra) {
	t.Helper()
	root := filepath.Join("/", os.Getenv("SIGHTLINE_TEST_GUEST"))
	found, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*cloud-amd64"))
	if len(found) == 0 {
		t.Skipf("no cloud kernel in %s/boot: install linux-image-cloud-amd64, or set SIGHTLINE_TEST_GUEST to where its package is unpacked", root)
	}
	_, version, _ := strings.Cut(filepath.Base(found[0]), "-")
	for i, name := range []string{"virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci", "block/virtio_blk"} {
		data, err := os.ReadFile(filepath.Join(root, "lib/modules", version, "kernel/drivers", name+".ko"))
		if err != nil {
			t.Skip(err)
		}
		modules = append(modules, Extra{Path: fmt.Sprintf("/modules/%d-%s.ko", i, filepath.Base(name)), Data: data})
	}
	return found[0], modules
}

// reader is a stage in C, with libraries, that prints its model.
func reader(t *testing.T) *closure.Closure {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"model": "the model it was given",
		"main.c": `#include <math.h>
#include <stdio.h>
int main(int c,char**v){char b[64];FILE*f=fopen("/model/model","r");if(!f)return 1;fgets(b,64,f);printf("%s %.1f",b,cos(c-1));return 0;}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, nil, dir, "gcc", "-fno-builtin", "-o", "main", "main.c", "-lm")
	c, err := closure.Compute(closure.Spec{Program: filepath.Join(dir, "main"), Data: []closure.Input{{From: filepath.Join(dir, "model"), To: "/model/model"}}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAGuestRunsTheStageFromInitramfsAndDisk(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest of this test is for amd64")
	}
	emulator, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip(err)
	}
	kernel, modules := guestKernel(t)
	c := reader(t)
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "init"), "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "init"))
	if err != nil {
		t.Fatal(err)
	}
	var initramfs, disk bytes.Buffer
	if err := (Initramfs{Init: program, Extra: modules}).Pack(&initramfs, c.Manifest, c); err != nil {
		t.Fatal(err)
	}
	if err := (Disk{}).Pack(&disk, c.Manifest, c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a guest that hangs ends
	defer cancel()
	out, err := exec.CommandContext(ctx, emulator, "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", kernel, "-initrd", writeDisk(t, initramfs.Bytes()), "-append", "console=ttyS0 quiet panic=-1",
		"-drive", "if=none,id=d,format=raw,readonly=on,file="+writeDisk(t, disk.Bytes()), "-device", "virtio-blk-pci,drive=d").CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"initramfs: the model it was given 1.0 (<nil>)", "disk: the model it was given 1.0 (<nil>)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
