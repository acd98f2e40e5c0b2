package container

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"sightline/runtime/closure"
	"sightline/runtime/closure/pack"
	"sightline/runtime/driver"
)

const (
	// imageName begins the names of the images of boxes; the digest of the closure follows.
	imageName = "sightline/closure"
	// packing is the version of how images are made. It changes when the same closure gives another
	// image, so that those of an earlier Sightline are replaced.
	packing = "1"
)

// TamperedError says that what the engine has under the name of an image, or in a container made of
// it, is not the closure.
type TamperedError struct {
	Image  string
	What   string // `file "/lib/libc.so.6"`; empty for the image itself
	Reason string
	Engine string
}

func (e *TamperedError) Error() string {
	what := "image"
	if e.What != "" {
		what = e.What + " of image"
	}
	command := "docker"
	if e.Engine == "Podman" {
		command = "podman"
	}
	return fmt.Sprintf("%s %q was changed in %s: %s (if you know why, remove it: %s image rm %s)", what, e.Image, e.Engine, e.Reason, command, e.Image)
}

// imageOf returns the name of the image of a closure.
func imageOf(digest string) string { return imageName + ":" + strings.TrimPrefix(digest, "sha256:") }

// image returns the ID of the closure's image in the engine, which is given it if it hasn't got it.
func (e *engine) image(ctx context.Context, files driver.Files) (name, id string, err error) {
	digest := files.Digest()
	name = imageOf(digest)
	packed, err := files.Pack(ctx, pack.Image{Name: name, Labels: map[string]string{LabelClosure: digest, LabelPacking: packing}})
	if err != nil {
		return name, "", err
	}
	want, err := readIdentity(packed.Path)
	if err != nil {
		return name, "", fmt.Errorf("image %q: %w", name, err)
	}
	id, err = e.find(ctx, name, want)
	if !errdefs.IsNotFound(err) {
		return name, id, err
	}
	if err := e.load(ctx, packed.Path); err != nil {
		return name, "", fmt.Errorf("load image %q: %w", name, err)
	}
	if id, err = e.find(ctx, name, want); err != nil {
		return name, "", fmt.Errorf("after loading image %q: %w", name, err)
	}
	return name, id, nil
}

// find looks for the image that has a name; what has it and isn't the image is refused, unless it
// says that another version of Sightline has made it.
func (e *engine) find(ctx context.Context, name string, want []string) (string, error) {
	var got client.ImageInspectResult
	err := e.call(ctx, func(ctx context.Context, api *client.Client) (err error) {
		got, err = api.ImageInspect(ctx, name)
		return err
	})
	if err != nil {
		return "", err
	}
	id := strings.TrimPrefix(got.ID, "sha256:")
	if slices.Contains(want, id) {
		return got.ID, nil
	}
	if c := got.Config; c != nil && c.Labels[LabelPacking] != "" && c.Labels[LabelPacking] != packing {
		return "", errdefs.ErrNotFound
	}
	return "", &TamperedError{Image: name, Reason: fmt.Sprintf("its ID is %s, not %s", id, strings.Join(want, " or ")), Engine: e.name}
}

// load gives the engine an image.
func (e *engine) load(ctx context.Context, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return e.long(ctx, func(ctx context.Context, api *client.Client) error {
		answer, err := api.ImageLoad(ctx, file, client.ImageLoadWithQuiet(true))
		if err != nil {
			return err
		}
		defer answer.Close()
		return readProgress(answer)
	})
}

// readProgress reads the messages of an engine at work, of which one may be an error.
func readProgress(from io.Reader) error {
	decoder := json.NewDecoder(io.LimitReader(from, 1<<20))
	for {
		var message struct {
			Error       string `json:"error"`
			ErrorDetail struct {
				Message string `json:"message"`
			} `json:"errorDetail"`
		}
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case message.ErrorDetail.Message != "":
			return errors.New(message.ErrorDetail.Message)
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// maxDocument bounds the documents of an image, in bytes.
const maxDocument = 1 << 20

// readIdentity reads from an archive of pack.Image by which IDs an engine knows the image: the digest
// of its configuration, or of its manifest where images are kept by containerd.
func readIdentity(archive string) ([]string, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return identityOf(file)
}

func identityOf(archive io.Reader) ([]string, error) {
	var index struct {
		Manifests []struct{ Digest string }
	}
	var images []struct{ Config string }
	entries := tar.NewReader(archive)
	for len(index.Manifests) == 0 || len(images) == 0 {
		header, err := entries.Next()
		if err != nil {
			return nil, fmt.Errorf("read its archive: %w", err)
		}
		var into any
		switch header.Name {
		case "index.json":
			into = &index
		case "manifest.json":
			into = &images
		default:
			continue
		}
		if err := json.NewDecoder(io.LimitReader(entries, maxDocument)).Decode(into); err != nil {
			return nil, fmt.Errorf("read %q of its archive: %w", header.Name, err)
		}
	}
	ids := []string{
		strings.TrimPrefix(images[0].Config, "blobs/sha256/"),
		strings.TrimPrefix(index.Manifests[0].Digest, "sha256:"),
	}
	for _, id := range ids {
		if err := closure.Digest(id).Check(); err != nil {
			return nil, fmt.Errorf("read its archive: %w", err)
		}
	}
	return ids, nil
}
