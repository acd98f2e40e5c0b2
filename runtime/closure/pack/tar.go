// Package pack turns a closure into what each kind of box takes: a tar, a container image, an
// initramfs, a read-only disk, a folder for a unikernel's image builder. Each packing gives the same
// bytes for the same closure and settings: no times, no order of a file system, no host names.
package pack

import (
	"archive/tar"
	"fmt"
	"io"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// Tar is a root file system in POSIX (ustar) form: folders first, all times zero. A container
// engine can import it.
type Tar struct {
	UID, GID int // owner of everything; the files are readable for all anyway
}

// Key implements store.Packing.
func (t Tar) Key() (string, error) { return fmt.Sprintf("tar.%d.%d", t.UID, t.GID), nil }

// Pack implements store.Packing.
func (t Tar) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	if err := m.Check(); err != nil {
		return fmt.Errorf("pack tar: %w", err)
	}
	out := tar.NewWriter(w)
	for _, dir := range m.Folders() {
		if err := out.WriteHeader(t.header(tar.TypeDir, dir[1:]+"/", 0o755)); err != nil {
			return fmt.Errorf("pack tar: folder %q: %w", dir, err)
		}
	}
	for _, f := range m.Files {
		if err := t.file(out, from, f); err != nil {
			return fmt.Errorf("pack tar: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("pack tar: %w", err)
	}
	return nil
}

func (t Tar) file(out *tar.Writer, from closure.Contents, f closure.File) error {
	header := t.header(tar.TypeReg, f.Path[1:], int64(f.Mode()))
	if f.Link != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
		return out.WriteHeader(header)
	}
	header.Size = f.Size
	if err := out.WriteHeader(header); err != nil {
		return fmt.Errorf("file %q: %w", f.Path, err)
	}
	return closure.Copy(out, from, f)
}

// header leaves the format to the writer: ustar where it suffices, PAX for long or non-ASCII names.
func (t Tar) header(kind byte, name string, mode int64) *tar.Header {
	return &tar.Header{Typeflag: kind, Name: name, Mode: mode, Uid: t.UID, Gid: t.GID, ModTime: time.Unix(0, 0)}
}

var _ store.Packing = Tar{}
