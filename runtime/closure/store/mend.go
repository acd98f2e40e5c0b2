package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// Mend takes away what was made of a closure and was changed since: its tree, its packings. They are
// made anew, from contents that are verified, when they are asked for. It is for an operator who has
// been told of a *TamperedError; boxes that use the tree lose its files.
func (s *Store) Mend(digest closure.Digest) error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := s.Manifest(digest)
	if err != nil {
		return err
	}
	tree := s.path(trees, string(digest))
	if _, err := os.Lstat(tree); err == nil && s.verifyTree(digest, m, tree) != nil {
		if err := closure.RemoveTree(tree); err != nil {
			return fmt.Errorf("mend closure %s: %w", digest, err)
		}
	}
	notes, err := filepath.Glob(s.path(packs, string(digest)+"-*"+sumSuffix))
	if err != nil {
		return fmt.Errorf("mend closure %s: %w", digest, err)
	}
	var errs []error
	for _, note := range notes {
		at := strings.TrimSuffix(note, sumSuffix)
		if packed, ok := s.packed(at); ok && checkPacked(digest, packed) == nil {
			continue
		}
		errs = append(errs, os.Remove(note), os.RemoveAll(at))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mend closure %s: %w", digest, err)
	}
	return nil
}
