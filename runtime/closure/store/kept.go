package store

import (
	"context"

	"sightline/runtime/closure"
)

// Kept is one closure of a store, as the drivers of boxes use it. Each method verifies what it
// returns; what was changed is told as *TamperedError.
type Kept struct {
	store  *Store
	digest closure.Digest
}

// Kept returns the closure of a digest, without looking whether it is there.
func (s *Store) Kept(digest closure.Digest) Kept { return Kept{s, digest} }

// Digest returns the closure's digest, "sha256:…".
func (k Kept) Digest() string { return "sha256:" + string(k.digest) }

// Manifest returns the list of the closure's files.
func (k Kept) Manifest(context.Context) (*closure.Manifest, error) { return k.store.Manifest(k.digest) }

// Folder returns the closure laid out as a folder, see Store.Tree.
func (k Kept) Folder(context.Context) (string, error) { return k.store.Tree(k.digest) }

// Pack returns the closure packed, after all of it was verified: a packing made from good contents
// does not hide that they have gone bad since.
func (k Kept) Pack(_ context.Context, way Packing) (Packed, error) {
	if err := k.store.Verify(k.digest); err != nil {
		return Packed{}, err
	}
	return k.store.Pack(k.digest, way)
}
