package vm

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

func TestTheNewestKernelIsTheOneOfTheHighestVersion(t *testing.T) {
	names := []string{"/boot/vmlinuz-6.1.0-10-cloud-amd64", "/boot/vmlinuz-6.1.0-9-cloud-amd64", "/boot/vmlinuz-5.10.0-30-cloud-amd64"}
	if got := slices.MaxFunc(names, byVersion); got != names[0] {
		t.Error(got)
	}
}

func TestAKernelHasItsModulesWherePackagesPutThem(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "boot/vmlinuz-6.1.0-9-cloud-amd64")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := findKernel(name, "", "amd64"); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := findKernel(name, "", "amd64")
	if err != nil || k.version != "6.1.0-9-cloud-amd64" || k.modules != filepath.Join(dir, "lib/modules", k.version) {
		t.Errorf("%+v, %v", k, err)
	}
	if modules, err := k.load("virtio_blk"); err != nil || len(modules) != 0 {
		t.Errorf("of a kernel without modules: %v, %v", modules, err)
	}
	if k, err := findKernel(name, "/m", "amd64"); err != nil || k.modules != "/m" {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestModulesComeAfterThoseThatTheyNeed(t *testing.T) {
	d := newDriver().(*Driver)
	k, err := findKernel(d.Kernel, d.Modules, d.arch())
	if err != nil {
		t.Skip(err)
	}
	modules, err := k.load("virtio_pci", "virtio_console", "virtio_blk", "ext4")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range modules {
		names = append(names, m.name)
	}
	for _, pair := range [][2]string{{"virtio_ring", "virtio"}, {"virtio", "virtio_pci"}, {"virtio_pci_modern_dev", "virtio_pci"}, {"virtio", "virtio_console"}} {
		if a, b := slices.Index(names, pair[0]), slices.Index(names, pair[1]); a < 0 || b < 0 || a > b {
			t.Errorf("%s isn't before %s in %q", pair[0], pair[1], names)
		}
	}
}

func TestAModuleIsUnpacked(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("module")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"a.ko": "module", "a.ko.gz": packed.String(), "a.ko.xz": "module", "b.ko.gz": "module"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := readModule(path)
		if good := strings.HasPrefix(name, "a") && !strings.HasSuffix(name, "xz"); good != (string(got) == "module" && err == nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzDependencies(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	if program, err := os.ReadFile("/proc/self/exe"); err == nil && len(program) < 1<<16 {
		f.Add(program)
	}
	d := newDriver().(*Driver)
	if k, err := findKernel(d.Kernel, d.Modules, d.arch()); err == nil {
		if files, err := k.moduleFiles(); err == nil {
			if data, err := os.ReadFile(files["virtio"]); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = dependencies(data) })
}

func TestGuestsRunInTheBestWayThatThereIs(t *testing.T) {
	kvm, tcg := &qemu.Emulator{Arch: "amd64", KVM: true}, &qemu.Emulator{Arch: "amd64"}
	machines := func(e *qemu.Emulator, accelerator string) (all []string) {
		for _, w := range ways(e, "", accelerator) {
			all = append(all, string(w.machine)+map[bool]string{true: "+kvm"}[w.emulator.KVM])
		}
		return all
	}
	for name, test := range map[string]struct{ got, want []string }{
		"with KVM":          {machines(kvm, ""), []string{"microvm+kvm", "q35+kvm", "q35"}},
		"with only KVM":     {machines(kvm, qemu.OnlyKVM), []string{"microvm+kvm", "q35+kvm"}},
		"translated":        {machines(tcg, ""), []string{"q35"}},
		"translated, arm64": {machines(&qemu.Emulator{Arch: "arm64"}, ""), []string{"virt"}},
	} {
		if !reflect.DeepEqual(test.got, test.want) {
			t.Errorf("%s: %q instead of %q", name, test.got, test.want)
		}
	}
}

func TestLimitsSizeTheMachine(t *testing.T) {
	if memory, cpus := sized(driver.Limits{Memory: 200<<20 + 5, CPUs: 1.5}); memory != 200<<20 || cpus != 2 {
		t.Errorf("%d, %d", memory, cpus)
	}
	if memory, cpus := sized(driver.Limits{}); memory != DefaultMemory || cpus < 1 {
		t.Errorf("%d, %d", memory, cpus)
	}
}
