package qemu

import (
	"errors"
	"os"
	"path/filepath"

	"sightline/runtime/durable"
	"sightline/runtime/outlive"
)

// Names in the folder of a box.
const (
	recordFile = "qemu.json"
	lockFile   = "qemu.lock"
	logFile    = "qemu.log"
	folderName = "qemu" // with sockets and pipes
)

// record is what a later supervisor must know of a guest.
type record struct{ outlive.Record }

// write puts the record into the folder of the box.
func (r record) write(dir string) error { return r.Write(filepath.Join(dir, recordFile)) }

// readRecord returns the record of a guest; fs.ErrNotExist when there is none.
func readRecord(dir, id string) (record, error) {
	r, err := outlive.ReadRecord(filepath.Join(dir, recordFile), id)
	return record{r}, err
}

// tidy removes what the guest has in the folder of its box, the record last.
func tidy(dir string) error {
	errs := []error{os.RemoveAll(filepath.Join(dir, folderName))}
	for _, name := range []string{logFile, lockFile, recordFile + durable.Temporary, recordFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
