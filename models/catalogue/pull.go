package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sightline/pipeline"
)

// Puller fetches models of the catalogue into a store. A file gets its name only when its size and its SHA-256 are
// those of the catalogue; what was fetched of one before an interruption is kept, and the next pull goes on from there.
type Puller struct {
	Store     Store
	From      string            // a folder or an address to fetch from instead of the internet; "": the catalogue's address
	Replace   bool              // overwrite a file of that name that is another one, its card and its labels
	Transport http.RoundTripper // nil: http.DefaultTransport, which heeds the proxy of the environment
	Backoff   pipeline.Backoff  // between tries; zero: from 1 s to 30 s
	Tries     int               // in a row without a new byte; 0: 6
	Stall     time.Duration     // without a byte, before a connection is given up; 0: 30 s
	Report    func(Progress)    // called from Pull's goroutine; nil: nothing is reported
}

// Progress is how far a pull is.
type Progress struct {
	Done, Total int64  // bytes
	Note        string // what happened, for people; "" for mere progress
}

// Pulled says what a pull did.
type Pulled struct {
	Path    string   // of the model
	Already bool     // the model was there, and right
	Kept    []string // card or labels that were there, and were left as they are
}

// Pull brings one model into the store, with its card and its labels. It returns when all of that is on the disk.
func (p *Puller) Pull(ctx context.Context, e Entry) (Pulled, error) {
	done, err := p.pull(ctx, e)
	if err != nil {
		return done, fmt.Errorf("pull %s: %w", e.Name, err)
	}
	return done, nil
}

func (p *Puller) pull(ctx context.Context, e Entry) (Pulled, error) {
	done := Pulled{Path: p.Store.Path(e.Name)}
	from, err := p.origin(e)
	if err != nil {
		return done, err
	}
	if err := os.MkdirAll(p.Store.Folder, 0o755); err != nil {
		return done, fmt.Errorf("model store: %w", err)
	}
	part, err := openPart(p.Store, e)
	if err != nil {
		return done, err
	}
	defer part.close()
	if done.Already, err = p.there(e); err != nil {
		return done, err
	}
	if !done.Already {
		t := transfer{Puller: p, entry: e, from: from, part: part}
		if err := t.run(ctx); err != nil {
			return done, err
		}
	}
	if done.Kept, err = p.describe(e); err != nil {
		return done, err
	}
	if done.Already {
		return done, part.drop()
	}
	return done, part.finish(done.Path)
}

// there tells whether the model is in the store already. A file of its name that is another one is an error, unless
// it is to be replaced.
func (p *Puller) there(e Entry) (bool, error) {
	path := p.Store.Path(e.Name)
	got, err := digestOf(path, e.Size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at what is there: %w", err)
	case got == e.SHA256:
		return true, nil
	case p.Replace:
		return false, nil
	}
	return false, fmt.Errorf("%q is there and is another file, with the SHA-256 %s; move it away, or pull with --replace", path, got)
}

// describe writes the labels and the card, before the model gets its name: it is never there without them. What is
// there already may have been edited, and is kept.
func (p *Puller) describe(e Entry) (kept []string, err error) {
	files := []struct {
		name    string
		content []byte
	}{{e.LabelsFile(), e.Labels()}, {e.Name + ".yaml", e.Card()}}
	for _, f := range files {
		path := filepath.Join(p.Store.Folder, f.name)
		there, err := os.ReadFile(path)
		if err == nil && (string(there) == string(f.content)) {
			continue
		}
		if err == nil && !p.Replace {
			kept = append(kept, path)
			continue
		}
		if err := p.Store.write(f.name, f.content); err != nil {
			return kept, fmt.Errorf("write %q: %w", path, err)
		}
	}
	return kept, nil
}

func (p *Puller) report(done, total int64, note string) {
	if p.Report != nil {
		p.Report(Progress{Done: done, Total: total, Note: note})
	}
}

func (p *Puller) tries() int { return cmp.Or(p.Tries, 6) }

func (p *Puller) stall() time.Duration { return cmp.Or(p.Stall, 30*time.Second) }

func (p *Puller) backoff() pipeline.Backoff {
	return pipeline.Backoff{Least: cmp.Or(p.Backoff.Least, time.Second), Most: cmp.Or(p.Backoff.Most, 30*time.Second)}
}
