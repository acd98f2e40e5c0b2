package pack

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// Media types of the OCI image specification 1.0.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Image is a container image of one layer as an archive that is both: an OCI image layout (for
// registries, podman, skopeo: oci-archive) and what `docker load` takes. It runs the stage as User,
// without a shell, an environment or an exposed port.
type Image struct {
	Name string // reference such as "sightline/classify:3f2a", the tag "latest" if none; may be empty
	User string // "65532:65532" if empty
	Args []string
	// Labels are put on the image; the supervisor knows its own by them.
	Labels map[string]string
}

// Key implements store.Packing.
func (i Image) Key() (string, error) {
	settings, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	return "image." + string(closure.Sum(settings)), nil
}

// Identity is what a packed image is known by.
type Identity struct {
	Config   closure.Digest // Docker's image ID
	Manifest closure.Digest // the digest that a registry would give
	Layer    closure.Digest
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type imageManifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type imageIndex struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	platform
	Created time.Time   `json:"created"`
	Config  runConfig   `json:"config"`
	RootFS  rootFS      `json:"rootfs"`
	History []historyOf `json:"history"`
}

type runConfig struct {
	User       string            `json:"User"`
	Entrypoint []string          `json:"Entrypoint"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type historyOf struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// dockerEntry is one image of the manifest.json that `docker load` reads.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// parts are the small documents of an image.
type parts struct {
	layer                   descriptor
	config, manifest, index []byte
	docker                  []byte
}

// Identity computes what the image will be known by; it reads the whole closure once.
func (i Image) Identity(m *closure.Manifest, from closure.Contents) (Identity, error) {
	p, err := i.build(m, from)
	if err != nil {
		return Identity{}, err
	}
	layer := closure.Digest(strings.TrimPrefix(p.layer.Digest, "sha256:"))
	return Identity{Config: closure.Sum(p.config), Manifest: closure.Sum(p.manifest), Layer: layer}, nil
}

// Pack implements store.Packing.
func (i Image) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	p, err := i.build(m, from)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := out.WriteHeader(Tar{}.header(tar.TypeDir, dir, 0o755)); err != nil {
			return fmt.Errorf("pack image: %w", err)
		}
	}
	for _, file := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", p.index}, {"manifest.json", p.docker},
		{blobPath(p.config), p.config}, {blobPath(p.manifest), p.manifest},
	} {
		if err := writeEntry(out, file.name, int64(len(file.data))); err != nil {
			return err
		}
		if _, err := out.Write(file.data); err != nil {
			return fmt.Errorf("pack image: %w", err)
		}
	}
	if err := writeEntry(out, "blobs/sha256/"+strings.TrimPrefix(p.layer.Digest, "sha256:"), p.layer.Size); err != nil {
		return err
	}
	if err := (Tar{}).Pack(out, m, from); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	return nil
}

func writeEntry(out *tar.Writer, name string, size int64) error {
	header := Tar{}.header(tar.TypeReg, name, 0o444)
	header.Size = size
	if err := out.WriteHeader(header); err != nil {
		return fmt.Errorf("pack image: %q: %w", name, err)
	}
	return nil
}

func blobPath(data []byte) string { return "blobs/sha256/" + string(closure.Sum(data)) }

func describe(mediaType string, data []byte) descriptor {
	return descriptor{MediaType: mediaType, Digest: "sha256:" + string(closure.Sum(data)), Size: int64(len(data))}
}

// build packs the layer once to learn its digest, and makes the documents.
func (i Image) build(m *closure.Manifest, from closure.Contents) (*parts, error) {
	hash := sha256.New()
	count := &counter{w: hash}
	if err := (Tar{}).Pack(count, m, from); err != nil {
		return nil, err
	}
	p := &parts{layer: descriptor{MediaType: typeLayer, Digest: "sha256:" + hex.EncodeToString(hash.Sum(nil)), Size: count.n}}
	return p, i.documents(p, m)
}

func (i Image) documents(p *parts, m *closure.Manifest) (err error) {
	if p.config, err = json.Marshal(i.config(p.layer.Digest, m)); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	manifest := imageManifest{2, typeManifest, describe(typeConfig, p.config), []descriptor{p.layer}}
	if p.manifest, err = json.Marshal(manifest); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	top := describe(typeManifest, p.manifest)
	top.Platform = platformOf(m)
	docker := dockerEntry{Config: blobPath(p.config), Layers: []string{"blobs/sha256/" + strings.TrimPrefix(p.layer.Digest, "sha256:")}}
	if i.Name != "" {
		name := i.Name
		_, tag, tagged := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
		if !tagged {
			tag, name = "latest", name+":latest"
		}
		top.Annotations = map[string]string{"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": name}
		docker.RepoTags = []string{name}
	}
	if p.index, err = json.Marshal(imageIndex{2, typeIndex, []descriptor{top}}); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	if p.docker, err = json.Marshal([]dockerEntry{docker}); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	return nil
}

func (i Image) config(layer string, m *closure.Manifest) imageConfig {
	user := i.User
	if user == "" {
		user = "65532:65532"
	}
	zero := time.Unix(0, 0).UTC()
	return imageConfig{
		platform: *platformOf(m), Created: zero,
		Config:  runConfig{User: user, Entrypoint: append([]string{closure.ProgramPath}, i.Args...), WorkingDir: "/", Labels: i.Labels},
		RootFS:  rootFS{"layers", []string{layer}},
		History: []historyOf{{zero, "sightline closure"}},
	}
}

func platformOf(m *closure.Manifest) *platform {
	system, architecture, _ := strings.Cut(m.Platform, "/")
	return &platform{architecture, system}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

var _ store.Packing = Image{}
