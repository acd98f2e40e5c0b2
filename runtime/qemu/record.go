package qemu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sightline/runtime/cgroup"
	"sightline/runtime/outlive"
)

const (
	recordVersion = 1
	maxRecord     = 64 << 10 // bytes
)

// Names in the folder of a box.
const (
	recordFile = "qemu.json"
	lockFile   = "qemu.lock"
	logFile    = "qemu.log"
	folderName = "qemu" // with sockets and pipes
)

// record is what a later supervisor must know of a guest. It is written before anything of the
// guest exists, without the process, and again when QEMU is there.
type record struct {
	Version int           `json:"version"`
	ID      string        `json:"id"`
	Boot    string        `json:"boot"` // of the machine; processes of another boot are gone
	UID     int           `json:"uid,omitempty"`
	Groups  cgroup.Groups `json:"cgroups"`
	PID     int           `json:"pid,omitempty"`
	Started uint64        `json:"started,omitempty"` // of the process, in clock ticks since boot
}

func (r record) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := outlive.WriteRecord(filepath.Join(dir, recordFile), append(data, '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// readRecord returns the record of a guest; fs.ErrNotExist when there is none.
func readRecord(dir, id string) (record, error) {
	name := filepath.Join(dir, recordFile)
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
	if len(data) > maxRecord {
		return record{}, fmt.Errorf("state of %d bytes is longer than %d", len(data), maxRecord)
	}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return record{}, fmt.Errorf("decode state: %w", err)
	}
	if r.Version != recordVersion {
		return record{}, fmt.Errorf("state has version %d, not %d", r.Version, recordVersion)
	}
	if err := outlive.CheckID(r.ID); err != nil {
		return record{}, err
	}
	if r.PID < 0 || r.PID == 1 || r.PID > 1<<22 {
		return record{}, fmt.Errorf("process %d cannot be QEMU", r.PID)
	}
	return r, r.Groups.Check(r.ID)
}

// tidy removes what the guest has in the folder of its box, the record last.
func tidy(dir string) error {
	errs := []error{os.RemoveAll(filepath.Join(dir, folderName))}
	for _, name := range []string{logFile, lockFile, recordFile + outlive.Temporary, recordFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
