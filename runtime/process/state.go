package process

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"sightline/runtime/cgroup"
	"sightline/runtime/outlive"
)

const (
	stateVersion = 1
	maxState     = 64 << 10 // bytes
)

// record is what a later supervisor must know of a box. It is written before anything of the box
// exists, without the process, and again before the program runs.
type record struct {
	Version int           `json:"version"`
	ID      string        `json:"id"`
	Boot    string        `json:"boot"` // of the machine; processes of another boot are gone
	UID     int           `json:"uid,omitempty"`
	Groups  cgroup.Groups `json:"cgroups"`
	PID     int           `json:"pid,omitempty"`
	Started uint64        `json:"started,omitempty"` // of the process, in clock ticks since boot
}

// write puts the record into dir whole, and on the disk.
func (r record) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := outlive.WriteRecord(filepath.Join(dir, stateFile), append(data, '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// readRecord returns the record of a box; fs.ErrNotExist when there is none.
func readRecord(dir, id string) (record, error) {
	name := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(name)
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(data)
	if err != nil {
		return record{}, fmt.Errorf("%q: %w", name, err)
	}
	if r.ID != id {
		return record{}, fmt.Errorf("%q is the state of box %q", name, r.ID)
	}
	return r, nil
}

// parseRecord decodes a record and checks it: what it names will be killed and removed.
func parseRecord(data []byte) (record, error) {
	if len(data) > maxState {
		return record{}, fmt.Errorf("state of %d bytes is longer than %d", len(data), maxState)
	}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return record{}, fmt.Errorf("decode state: %w", err)
	}
	if r.Version != stateVersion {
		return record{}, fmt.Errorf("state has version %d, not %d", r.Version, stateVersion)
	}
	if err := outlive.CheckID(r.ID); err != nil {
		return record{}, err
	}
	if r.PID < 0 || r.PID == 1 || r.PID > 1<<22 {
		return record{}, fmt.Errorf("process %d cannot be a box", r.PID)
	}
	return r, r.Groups.Check(r.ID)
}
