package onnx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Files of one entry of the cache. The stamp names the entry's key and the graph's hash.
const (
	graphFile    = "graph.onnx"
	stampFile    = "graph.stamp"
	engineFolder = "engines"
	maxGraph     = 2 << 30
)

// cache is the folder of what was made of one model by one ONNX Runtime for one device. The zero
// value keeps nothing. Nothing in it is needed: whatever is wrong with it is logged, and done without.
type cache struct {
	folder string // <cache>/<key>; "": there is none
	key    string
	log    *slog.Logger
}

// cache opens the model's entry. A folder that others may write to, or that belongs to someone else,
// is not used: whoever can put a graph there decides what the model says.
func (m *model) cache(p Provider) cache {
	if m.CacheDir == "" {
		return cache{}
	}
	parts := []string{"1", m.file.SHA256, m.runtime.version, string(p), fmt.Sprint(m.GPU), fmt.Sprint(m.Half), fmt.Sprint(m.frames()), device()}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	key := hex.EncodeToString(sum[:16])
	c := cache{folder: filepath.Join(m.CacheDir, key), key: key, log: m.Log}
	if err := errors.Join(private(m.CacheDir), private(c.folder)); err != nil {
		m.Log.Warn("cache is not used", "reason", err)
		return cache{}
	}
	return c
}

// private makes sure that a folder is there and only its owner, who is this user or root, can write.
func private(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("folder of the cache: %w", err)
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return fmt.Errorf("folder of the cache: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("cache %q is not a folder", folder)
	}
	return ownedHere(folder, info)
}

func ownedHere(path string, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("cache %q belongs to user %d", path, owner.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("cache %q can be written to by others (mode %s)", path, info.Mode())
	}
	return nil
}

// graph returns the optimised graph, nil when there is none that can be trusted.
func (c cache) graph() []byte {
	if c.folder == "" {
		return nil
	}
	stamp, err := c.read(stampFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	graph, err2 := c.read(graphFile)
	switch {
	case err != nil || err2 != nil:
		c.log.Warn("cached graph is not used", "reason", errors.Join(err, err2))
	case !bytes.Equal(stamp, c.stamp(graph)):
		c.log.Warn("cached graph is not used", "reason", "it is damaged or was made for something else")
	default:
		return graph
	}
	return nil
}

func (c cache) read(name string) ([]byte, error) {
	path := filepath.Join(c.folder, name)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxGraph {
		return nil, fmt.Errorf("cache %q is not a file, or too large", path)
	}
	if err := ownedHere(path, info); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

func (c cache) stamp(graph []byte) []byte {
	sum := sha256.Sum256(graph)
	return []byte(c.key + " " + hex.EncodeToString(sum[:]) + "\n")
}

// newGraph names the file that ONNX Runtime is to write the optimised graph to, "" for none.
func (c cache) newGraph() string {
	if c.folder == "" {
		return ""
	}
	f, err := os.CreateTemp(c.folder, "new-*.onnx")
	if err != nil {
		c.log.Warn("graph is not kept", "reason", err)
		return ""
	}
	f.Close()
	return f.Name()
}

// keepGraph puts a written graph in place, unless the session failed.
func (c cache) keepGraph(file string, failed error) {
	if file == "" {
		return
	}
	defer os.Remove(file)
	if failed != nil {
		return
	}
	if err := c.keep(file); err != nil {
		c.log.Warn("graph is not kept", "reason", err)
	}
}

// keep writes the stamp last: an entry that was cut off has none, or one that does not match.
func (c cache) keep(file string) error {
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	graph, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	stamp := file + ".stamp"
	defer os.Remove(stamp)
	if err := os.WriteFile(stamp, c.stamp(graph), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file, filepath.Join(c.folder, graphFile)); err != nil {
		return err
	}
	return os.Rename(stamp, filepath.Join(c.folder, stampFile))
}

// engines is the folder for TensorRT's engines, "" when there is no cache.
func (c cache) engines() string {
	if c.folder == "" {
		return ""
	}
	folder := filepath.Join(c.folder, engineFolder)
	if err := private(folder); err != nil {
		c.log.Warn("cache of engines is not used", "reason", err)
		return ""
	}
	return folder
}

// device describes what optimised graphs and engines are made for: the processor with its
// instructions, and the GPU with its driver, as far as the kernel tells.
func device() string {
	words := []string{runtime.GOARCH}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			key, _, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(key) {
			case "model name", "flags", "Features", "CPU part":
				words = append(words, strings.TrimSpace(line))
			case "":
				return strings.Join(append(words, graphics()...), "\n")
			}
		}
	}
	return strings.Join(append(words, graphics()...), "\n")
}

func graphics() []string {
	files, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	files = append(files, "/proc/driver/nvidia/version", "/proc/device-tree/model", "/etc/nv_tegra_release")
	var words []string
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			words = append(words, string(text))
		}
	}
	return words
}
