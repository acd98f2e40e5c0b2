package outlive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Temporary ends the name under which a record is written before it takes its place.
const Temporary = ".new"

// WriteRecord writes a file whole, and onto the disk: after a crash there is the old one or the new.
func WriteRecord(name string, data []byte) error {
	if err := writeSynced(name+Temporary, data); err != nil {
		return err
	}
	if err := os.Rename(name+Temporary, name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func writeSynced(name string, data []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func syncFolder(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// CheckID returns an error for what is no ID of a box: it becomes part of paths.
func CheckID(id string) error {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if id == "" || len(id) > 63 || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("box ID %q is not 1 to 63 lower-case letters, digits and -", id)
	}
	return nil
}

// Boot returns the ID of this boot of the machine; "" when the kernel doesn't say.
func Boot() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return strings.TrimSpace(string(data))
}
