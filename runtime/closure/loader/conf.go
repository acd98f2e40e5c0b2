package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxIncludes bounds how many files one ld.so.conf may draw in.
const maxIncludes = 256

// readConf returns the folders that an ld.so.conf names, those of its includes where they stand.
// Paths are below root. A missing file names none.
func readConf(root, name string) ([]string, error) {
	c := conf{root: root}
	if err := c.file(name); err != nil {
		return nil, err
	}
	return c.dirs, nil
}

type conf struct {
	root string
	dirs []string
	seen []string
}

func (c *conf) file(name string) error {
	if slices.Contains(c.seen, name) {
		return nil
	}
	if len(c.seen) == maxIncludes {
		return fmt.Errorf("read %q: more than %d files included", name, maxIncludes)
	}
	c.seen = append(c.seen, name)
	host, err := resolveIn(c.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	data, err := os.ReadFile(host)
	if err != nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	for _, d := range parseConf(string(data)) {
		if !d.include {
			c.dirs = append(c.dirs, d.path)
		} else if err := c.include(d.path, path.Dir(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c *conf) include(pattern, dir string) error {
	if !path.IsAbs(pattern) {
		pattern = path.Join(dir, pattern)
	}
	matches, err := filepath.Glob(filepath.Join(c.root, pattern))
	if err != nil {
		return fmt.Errorf("include %q: %w", pattern, err)
	}
	for _, match := range matches { // sorted
		rel, err := filepath.Rel(c.root, match)
		if err != nil {
			return err
		}
		if err := c.file("/" + rel); err != nil {
			return err
		}
	}
	return nil
}

// directive is a folder that an ld.so.conf names, or a pattern of files to include there.
type directive struct {
	path    string
	include bool
}

// parseConf takes an ld.so.conf apart: one or more folders on a line, divided by blanks, commas or
// colons; "include PATTERN…"; "#" begins a comment. Lines "hwcap …" and "FOLDER=TYPE" are of old.
func parseConf(text string) []directive {
	var out []directive
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) })
		if len(words) == 0 || words[0] == "hwcap" {
			continue
		}
		include := words[0] == "include"
		if include {
			words = words[1:]
		}
		for _, word := range words {
			if !include {
				word, _, _ = strings.Cut(word, "=")
				word = path.Clean(word)
			}
			if include || path.IsAbs(word) {
				out = append(out, directive{word, include})
			}
		}
	}
	return out
}
