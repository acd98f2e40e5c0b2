package process

import (
	"path/filepath"

	"sightline/runtime/outlive"
)

// record is what a later supervisor must know of a box.
type record struct{ outlive.Record }

// write puts the record into the folder of the box.
func (r record) write(dir string) error { return r.Write(filepath.Join(dir, stateFile)) }

// readRecord returns the record of a box; fs.ErrNotExist when there is none.
func readRecord(dir, id string) (record, error) {
	r, err := outlive.ReadRecord(filepath.Join(dir, stateFile), id)
	return record{r}, err
}
