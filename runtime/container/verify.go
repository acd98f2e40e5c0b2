package container

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"sightline/runtime/closure"
)

// verify reads back what the engine has laid out for a container and compares it with the closure.
func (e *engine) verify(ctx context.Context, id, image string, m *closure.Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return e.long(ctx, func(ctx context.Context, api *client.Client) error {
		got, err := api.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: "/"})
		if err != nil {
			return fmt.Errorf("read back image %q: %w", image, err)
		}
		defer got.Content.Close()
		err = compare(got.Content, m)
		var different *difference
		if errors.As(err, &different) {
			return &TamperedError{Image: image, What: different.what, Reason: different.reason, Engine: e.name}
		}
		if err != nil {
			return fmt.Errorf("read back image %q: %w", image, err)
		}
		return nil
	})
}

type difference struct{ what, reason string }

func (d *difference) Error() string { return d.what + " " + d.reason }

// added says whether an engine may have put something that is not in the closure at a path: what its
// own mounts go onto, and empty files that tell programs where they run. Folders are nothing.
func added(header *tar.Header, at string) bool {
	switch {
	case header.Typeflag == tar.TypeDir:
		return true
	case at == "/etc/mtab":
		return header.Typeflag == tar.TypeSymlink && header.Linkname == "/proc/mounts"
	case slices.Contains([]string{"/.dockerenv", "/run/.containerenv", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/dev/console"}, at):
		return header.Typeflag == tar.TypeReg
	}
	return under(at, "/dev") || under(at, "/proc") || under(at, "/sys") || under(at, WireFolder)
}

func under(name, folder string) bool { return strings.HasPrefix(name, folder+"/") }

// compare compares an archive of a whole file system with a manifest.
func compare(archive io.Reader, m *closure.Manifest) error {
	want := map[string]closure.File{}
	for _, f := range m.Files {
		want[f.Path] = f
	}
	entries := tar.NewReader(archive)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		at := path.Join("/", header.Name)
		f, ok := want[at]
		switch {
		case ok:
			if err := compareFile(entries, header, f); err != nil {
				return err
			}
			delete(want, at)
		case !added(header, at):
			return &difference{fmt.Sprintf("file %q", at), "it is not in the closure"}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(want)) {
		return &difference{fmt.Sprintf("file %q", at), "it is gone"}
	}
	return nil
}

func compareFile(content io.Reader, header *tar.Header, f closure.File) error {
	differs := func(format string, args ...any) error {
		return &difference{fmt.Sprintf("file %q", f.Path), fmt.Sprintf(format, args...)}
	}
	switch {
	case f.Link != "":
		if header.Typeflag != tar.TypeSymlink || header.Linkname != f.Link {
			return differs("it is no link to %q", f.Link)
		}
		return nil
	case header.Typeflag != tar.TypeReg:
		return differs("it is no file")
	case uint32(header.Mode)&0o7777 != f.Mode():
		return differs("its permissions are %04o, not %04o", header.Mode&0o7777, f.Mode())
	case header.Size != f.Size:
		return differs("it has %d bytes, not %d", header.Size, f.Size)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return err
	}
	if got := closure.Digest(hex.EncodeToString(hash.Sum(nil))); got != f.SHA256 {
		return differs("its digest is %s, not %s", got, f.SHA256)
	}
	return nil
}
