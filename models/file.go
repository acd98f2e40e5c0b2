package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not wait for a named pipe
	if err != nil {
		return File{}, fmt.Errorf("model: %w", err)
	}
	defer f.Close()
	data, err := readOpen(f, maxModelBytes)
	if err != nil {
		return File{}, fmt.Errorf("model %q: %w", path, err)
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

// readInside reads a whole file that may not be outside the folder, also not by a link.
func readInside(folder *os.Root, path string, limit int64) ([]byte, error) {
	f, err := folder.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	var cause *fs.PathError
	if errors.As(err, &cause) {
		return nil, cause.Err // the caller names the file
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f, limit)
}

// readOpen reads a whole file. What is no regular file or larger than limit is refused.
func readOpen(f fs.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are allowed", info.Size(), limit)
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > limit {
		return nil, fmt.Errorf("it grew beyond the %d bytes that are allowed", limit)
	}
	return data.Bytes(), nil
}
