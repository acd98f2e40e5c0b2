package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxModelBytes bounds a model: protobuf allows 2 GiB, a device at a camera far less.
const maxModelBytes = 1 << 30

// File is a model's bytes with their identity: read once, so that what is hashed is what runs.
type File struct {
	Path   string // where it was read from; of built-in models their name
	Bytes  []byte
	SHA256 string // hexadecimal
}

// ReadFile reads a .onnx file. It must be a regular file of at most 1 GiB.
func ReadFile(path string) (File, error) {
	data, err := readRegular(path, maxModelBytes)
	if err != nil {
		return File{}, fmt.Errorf("model: %w", err)
	}
	return NewFile(path, data), nil
}

// NewFile is a model that is already in memory. The bytes are not copied.
func NewFile(path string, data []byte) File {
	sum := sha256.Sum256(data)
	return File{Path: path, Bytes: data, SHA256: hex.EncodeToString(sum[:])}
}

// Name is the file's name without its extension.
func (f File) Name() string {
	base := filepath.Base(f.Path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// Verify compares the file with the card's sha256, where that is given.
func (f File) Verify(c *Card) error {
	if c.SHA256 == "" || c.SHA256 == f.SHA256 {
		return nil
	}
	return c.Refuse("sha256", fmt.Sprintf("the model %q has the SHA-256 %s", f.Path, f.SHA256),
		"it is not the model that the card was written for")
}

// readRegular reads a whole file; what is no regular file or larger than limit is refused. The file
// is opened without waiting, so that a named pipe cannot hold the caller up.
func readRegular(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f, path, limit)
}

// readInside is readRegular of a path that may not lead out of the folder, also not by a link.
func readInside(folder *os.Root, path string, limit int64) ([]byte, error) {
	f, err := folder.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f, path, limit)
}

func readOpen(f fs.File, path string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at %q: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%q has %d bytes, more than the %d that are allowed", path, info.Size(), limit)
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	if int64(data.Len()) > limit {
		return nil, fmt.Errorf("%q grew beyond the %d bytes that are allowed", path, limit)
	}
	return data.Bytes(), nil
}
