package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links one path may lead over, as in the kernel.
const maxLinks = 40

// resolveIn returns where name, a path below root, is on this machine. Symbolic links on the way,
// absolute ones too, are taken as if root were the root folder, so that none leads out of it.
func resolveIn(root, name string) (string, error) {
	at, rest, links := "/", strings.Trim(name, "/"), 0
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := filepath.Join(at, part) // ".." at the top stays at the top
		target, err := os.Readlink(filepath.Join(root, next))
		switch {
		case err == nil:
			if links++; links > maxLinks {
				return "", fmt.Errorf("resolve %q below %q: %w", name, root, syscall.ELOOP)
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = strings.Trim(target+"/"+rest, "/")
		case errors.Is(err, syscall.EINVAL): // no link
			at = next
		case errors.Is(err, syscall.ENOTDIR):
			return "", &fs.PathError{Op: "resolve", Path: filepath.Join(root, next), Err: fs.ErrNotExist}
		default:
			return "", err
		}
	}
	return filepath.Join(root, at), nil
}
