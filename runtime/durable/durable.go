// Package durable writes small files so that a kill or a power cut at any point leaves the old one
// or the new one, whole.
package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Temporary is what the name of a file ends in while it is being written.
const Temporary = ".new"

// Write puts data into the file name, with mode 0600. It is on the disk when Write returns.
func Write(name string, data []byte) error {
	if err := write(name+Temporary, data); err != nil {
		return errors.Join(Space(filepath.Dir(name), err), removeIfThere(name+Temporary))
	}
	if err := os.Rename(name+Temporary, name); err != nil {
		return Space(filepath.Dir(name), err)
	}
	return SyncFolder(filepath.Dir(name))
}

func write(name string, data []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// WriteJSON encodes a value and writes it.
func WriteJSON(name string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %q: %w", name, err)
	}
	return Write(name, append(data, '\n'))
}

// ReadJSON decodes a file of at most limit bytes that holds one value with no field unknown.
// fs.ErrNotExist when there is none.
func ReadJSON(name string, limit int64, value any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return err
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("%q is longer than %d bytes", name, limit)
	}
	if err := Decode(data, value); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// Decode decodes one JSON value with no field unknown, and nothing behind it.
func Decode(data []byte, value any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("decode: something follows the value")
	}
	return nil
}

// Remove removes a file, if it is there, for good.
func Remove(name string) error {
	if err := removeIfThere(name); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(name))
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncFolder puts what names a folder holds on the disk.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Space says in words when err is that the disk of dir is full.
func Space(dir string, err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	var at unix.Statfs_t
	if unix.Statfs(dir, &at) != nil {
		return fmt.Errorf("the disk of %q is full: %w", dir, err)
	}
	return fmt.Errorf("the disk of %q is full (%d bytes and %d files free): %w", dir, at.Bavail*uint64(at.Bsize), at.Ffree, err)
}
