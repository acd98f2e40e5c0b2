package closures

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sightline/runtime/closure"
	"sightline/runtime/closure/pack"
	"sightline/runtime/closure/store"
)

// The formats of Export.
const (
	FormatOCI       = "oci"
	FormatTar       = "tar"
	FormatInitramfs = "initramfs"
	FormatDisk      = "disk"
	FormatBundle    = "bundle"
)

// Export writes a closure for others than the supervisor. The same closure gives the same bytes.
type Export struct {
	Format string
	// Path is the file or folder to write. It is a file for initramfs and disk, a folder for bundle,
	// and for the others a file if it ends in .tar.
	Path string
	// Name of the image, of the format oci; empty: sightline/STAGE:DIGEST.
	Name string
	// Init is the program that a Linux kernel starts first, of the format initramfs.
	Init string
	// Force replaces a file, or a folder that was itself exported.
	Force bool
}

// Check tells what is wrong with the export before anything is computed.
func (e Export) Check() error {
	formats := []string{FormatOCI, FormatTar, FormatInitramfs, FormatDisk, FormatBundle}
	switch {
	case !slices.Contains(formats, e.Format):
		return fmt.Errorf("export: format %q is not one of %s", e.Format, strings.Join(formats, ", "))
	case e.Format == FormatInitramfs && e.Init == "":
		return errors.New("export: an initramfs needs the program that the kernel starts (add --init FILE)")
	}
	return e.free()
}

func (e Export) isFile() bool {
	switch e.Format {
	case FormatInitramfs, FormatDisk:
		return true
	case FormatBundle:
		return false
	}
	return filepath.Ext(e.Path) == ".tar"
}

// free tells whether there is nothing that the export must not write over.
func (e Export) free() error {
	info, err := os.Lstat(e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("export: %w", err)
	case !e.Force:
		return fmt.Errorf("export: there is %q already (add --force to replace it)", e.Path)
	case e.isFile() && info.Mode().IsRegular():
		return nil
	case !e.isFile() && info.IsDir() && exported(e.Path):
		return nil
	}
	return fmt.Errorf("export: %q was not exported, so it is not replaced: remove it, or write elsewhere", e.Path)
}

// exported tells whether a folder is what an export writes.
func exported(folder string) bool {
	for _, sign := range []string{"oci-layout", strings.TrimPrefix(closure.ProgramPath, "/"), "program" + closure.ProgramPath} {
		if info, err := os.Lstat(filepath.Join(folder, sign)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// Write exports the closure of a stage and says what was written. What is at the path before stays
// until all is written.
func (e Export) Write(s *Stage) (string, error) {
	if err := e.Check(); err != nil {
		return "", err
	}
	name := e.Name
	if name == "" {
		name = fmt.Sprintf("sightline/%s:%.12s", s.Name, s.Digest)
	}
	write, what := e.folder, e.Format+" folder"
	if e.isFile() {
		write, what = e.file, e.Format+" file"
	}
	if err := write(s, name); err != nil {
		return "", fmt.Errorf("export stage %q to %q: %w", s.Name, e.Path, err)
	}
	text := fmt.Sprintf("%s: %s of stage %s, closure sha256:%s", e.Path, what, s.Name, s.Digest)
	if e.Format == FormatOCI {
		text += ", image " + name
	}
	return text, nil
}

// packing returns how the format is made as one file.
func (e Export) packing(s *Stage, name string) (store.Packing, error) {
	switch e.Format {
	case FormatOCI:
		return pack.Image{Name: name, Labels: map[string]string{"sightline.closure": "sha256:" + string(s.Digest)}}, nil
	case FormatTar:
		return pack.Tar{}, nil
	case FormatDisk:
		return pack.Disk{}, nil
	}
	init, err := os.ReadFile(e.Init)
	if err != nil {
		return nil, fmt.Errorf("read init: %w", err)
	}
	return pack.Initramfs{Init: init, Plain: filepath.Ext(e.Path) == ".cpio"}, nil
}

func (e Export) file(s *Stage, name string) (err error) {
	p, err := e.packing(s, name)
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(e.Path), filepath.Base(e.Path)+closure.DraftSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, draft.Close(), os.Remove(draft.Name()))
		}
	}()
	if err := p.Pack(draft, s.Closure.Manifest, s.Closure); err != nil {
		return err
	}
	if err := errors.Join(draft.Chmod(0o644), draft.Sync()); err != nil {
		return err
	}
	if err := os.Rename(draft.Name(), e.Path); err != nil {
		return err
	}
	return draft.Close()
}

func (e Export) folder(s *Stage, name string) (err error) {
	draft, err := os.MkdirTemp(filepath.Dir(filepath.Clean(e.Path)), filepath.Base(e.Path)+closure.DraftSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if removed := closure.RemoveTree(draft); err == nil {
			err = removed
		}
	}()
	whole := filepath.Join(draft, "export")
	if err := e.fill(s, name, whole); err != nil {
		return err
	}
	if err := closure.RemoveTree(e.Path); err != nil {
		return err
	}
	return moved(whole, e.Path)
}

func (e Export) fill(s *Stage, name, folder string) error {
	switch e.Format {
	case FormatTar:
		return closure.Materialise(s.Closure.Manifest, s.Closure, folder)
	case FormatBundle:
		_, err := pack.WriteBundle(s.Closure.Manifest, s.Closure, folder)
		return err
	}
	p, err := e.packing(s, name)
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(p.Pack(writer, s.Closure.Manifest, s.Closure)) }()
	err = unpack(reader, folder)
	_ = reader.CloseWithError(err) // ends the packing
	return err
}

// moved renames a folder, which must be writable to get another parent.
func moved(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(from, 0o755), os.Rename(from, to), os.Chmod(to, info.Mode().Perm()))
}

// unpack writes the files of an image's archive into a folder. There are plain files and folders in it.
func unpack(from io.Reader, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			err = root.Mkdir(strings.TrimSuffix(header.Name, "/"), 0o755)
		} else {
			err = unpackFile(root, header.Name, archive)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, from io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
