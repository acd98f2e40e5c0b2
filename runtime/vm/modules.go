package vm

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sightline/runtime/qemu"
)

// module is a module of a kernel, as it is loaded.
type module struct {
	name string
	data []byte
}

// maxModule bounds a module, in bytes.
const maxModule = 32 << 20

// wantedModules are those that a guest needs, each of which may be built in.
func wantedModules(machine qemu.Machine) []string {
	transport := "virtio_pci"
	if machine == qemu.Microvm {
		transport = "virtio_mmio"
	}
	return []string{transport, "virtio_blk", "virtio_console", "ext4"}
}

// load reads the modules of these names, each after those that it depends on.
func (k *kernel) load(names ...string) ([]module, error) {
	files, err := k.moduleFiles()
	if err != nil {
		return nil, err
	}
	s := &sorter{files: files, seen: map[string]bool{}}
	for _, name := range names {
		if _, ok := files[name]; !ok {
			continue // built in; the first guest that boots tells
		}
		if err := s.visit(name); err != nil {
			return nil, fmt.Errorf("modules of the guests' kernel %q: %w", k.path, err)
		}
	}
	return s.sorted, nil
}

// moduleFiles returns the paths of all modules by their names.
func (k *kernel) moduleFiles() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.modules, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == k.modules {
			return nil // a kernel without modules
		}
		if err != nil {
			return err
		}
		name, rest, ok := strings.Cut(entry.Name(), ".ko")
		if ok && entry.Type().IsRegular() && (rest == "" || strings.HasPrefix(rest, ".")) {
			files[strings.ReplaceAll(name, "-", "_")] = path
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("modules of the guests' kernel: %w", err)
	}
	return files, nil
}

// sorter puts modules in the order of loading.
type sorter struct {
	files  map[string]string
	seen   map[string]bool
	sorted []module
}

func (s *sorter) visit(name string) error {
	name = strings.ReplaceAll(name, "-", "_")
	if s.seen[name] {
		return nil
	}
	s.seen[name] = true
	path, ok := s.files[name]
	if !ok {
		return fmt.Errorf("%q is not among them", name)
	}
	data, err := readModule(path)
	if err != nil {
		return err
	}
	needs, err := dependencies(data)
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	for _, other := range needs {
		if err := s.visit(other); err != nil {
			return err
		}
	}
	s.sorted = append(s.sorted, module{name, data})
	return nil
}

// readModule reads a module, which may be compressed.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var from io.Reader = f
	switch filepath.Ext(path) {
	case ".ko":
	case ".gz":
		if from, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("unpack %q: %w", path, err)
		}
	default:
		return nil, fmt.Errorf("%q is compressed in a way that is not known here: name a kernel with virtio built in, or Debian's cloud kernel", path)
	}
	data, err := io.ReadAll(io.LimitReader(from, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	if len(data) > maxModule {
		return nil, fmt.Errorf("%q is longer than %d bytes", path, maxModule)
	}
	return data, nil
}

// dependencies returns the modules that one needs: its section .modinfo has words of the form
// key=value, each ended by a zero byte (the kernel's include/linux/moduleparam.h).
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode module: %w", err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("decode module: it has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("decode module: %w", err)
	}
	for word := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(word), "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
