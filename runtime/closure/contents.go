package closure

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Contents is where the bytes of a closure's files are: a Closure just computed, or a store.
type Contents interface {
	// Open returns the content with this digest. The caller closes it, and checks what it reads.
	Open(Digest) (io.ReadCloser, error)
}

var _ Contents = (*Closure)(nil)

// Copy writes the content of a file to w. When it is not what f says, the error tells so, after all
// of it, but never more than its size, was written.
func Copy(w io.Writer, from Contents, f File) error {
	content, err := from.Open(f.SHA256)
	if err != nil {
		return fmt.Errorf("open content of %q: %w", f.Path, err)
	}
	defer content.Close()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, hash), io.LimitReader(content, f.Size))
	if err != nil {
		return fmt.Errorf("copy content of %q: %w", f.Path, err)
	}
	if got := Digest(hex.EncodeToString(hash.Sum(nil))); n != f.Size || got != f.SHA256 {
		return fmt.Errorf("content of %q was changed: %d bytes with digest %s, not %d with %s", f.Path, n, got, f.Size, f.SHA256)
	}
	if more, _ := content.Read(make([]byte, 1)); more != 0 {
		return fmt.Errorf("content of %q was changed: it has more than %d bytes", f.Path, f.Size)
	}
	return nil
}
