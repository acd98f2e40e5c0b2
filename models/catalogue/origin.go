package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sightline/pipeline"
)

// origin is where the bytes of one model come from.
type origin interface {
	// name is what messages call it. It shows no password and no signature.
	name() string
	// open returns the bytes from an offset on, or, where that cannot be had, from start, which is before it. The
	// error is permanent when trying again cannot help.
	open(ctx context.Context, offset int64) (body io.ReadCloser, start int64, err error)
}

// origin finds out what From means.
func (p *Puller) origin(e Entry) (origin, error) {
	client := &http.Client{Transport: p.Transport, CheckRedirect: checkRedirect}
	if p.From == "" {
		address, err := url.Parse(e.Address())
		if err != nil {
			return nil, err
		}
		return &remote{entry: e, client: client, candidates: []*url.URL{address}}, nil
	}
	if !strings.Contains(p.From, "://") {
		return newFolder(p.From, e)
	}
	base, err := url.Parse(p.From)
	if err != nil {
		return nil, errors.New("the address after --from cannot be read") // it may hold a password
	}
	switch base.Scheme {
	case "file":
		return newFolder(base.Path, e)
	case "https", "http":
		r := &remote{entry: e, client: client}
		for _, place := range e.places() {
			r.candidates = append(r.candidates, base.JoinPath(place))
		}
		return r, nil
	}
	return nil, fmt.Errorf("--from %s: %q is not supported (a folder, https:// or http://)", base.Redacted(), base.Scheme)
}

// checkRedirect follows a few redirects, none of them to where anyone on the way could read and change what comes.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if request.URL.Scheme != "https" {
		return pipeline.Permanentf("%s redirects to plain %s (%s), which is not followed", via[0].URL.Host, request.URL.Scheme, request.URL.Host)
	}
	if len(via) >= 10 {
		return pipeline.Permanentf("%s redirects without end", via[0].URL.Host)
	}
	return nil
}

// folder is a mirror on a disk.
type folder struct {
	entry Entry
	path  string
}

var _ origin = (*folder)(nil)

// newFolder takes a folder that has the model at one of its usual places, or the file itself.
func newFolder(path string, e Entry) (origin, error) {
	candidates := []string{path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	if info.IsDir() {
		candidates = nil
		for _, place := range e.places() {
			candidates = append(candidates, filepath.Join(path, filepath.FromSlash(place)))
		}
	}
	at := slices.IndexFunc(candidates, func(c string) bool { _, err := os.Stat(c); return err == nil })
	if at < 0 {
		return nil, fmt.Errorf("--from: %q has none of %s", path, strings.Join(e.places(), ", "))
	}
	return &folder{e, candidates[at]}, nil
}

func (f *folder) name() string { return fmt.Sprintf("%q", f.path) }

func (f *folder) open(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, 0, pipeline.Permanent(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: f.path, Err: errors.New("not a regular file")}
	}
	if err == nil && info.Size() != f.entry.Size {
		err = wrongSize(f.name(), file, info.Size(), f.entry.Size)
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, pipeline.Permanent(errors.Join(err, file.Close()))
	}
	return file, offset, nil
}
