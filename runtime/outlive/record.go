package outlive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"sightline/runtime/cgroup"
	"sightline/runtime/durable"
)

const (
	recordVersion = 1
	maxRecord     = 64 << 10 // bytes
)

// Record is what a later supervisor must know of a box that is a process of this machine. It is
// written before anything of the box exists, without the process, and again when the process is there.
type Record struct {
	Version int           `json:"version"`
	ID      string        `json:"id"`
	Boot    string        `json:"boot"` // of the machine; processes of another boot are gone
	UID     int           `json:"uid,omitempty"`
	Groups  cgroup.Groups `json:"cgroups"`
	PID     int           `json:"pid,omitempty"`
	Started uint64        `json:"started,omitempty"` // of the process, in clock ticks since boot
}

// NewRecord returns the record of a box that is about to be made, in this boot of the machine.
func NewRecord(id string, uid int, groups cgroup.Groups) Record {
	return Record{Version: recordVersion, ID: id, Boot: Boot(), UID: uid, Groups: groups}
}

// Write puts the record into a file whole, and on the disk.
func (r Record) Write(name string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := durable.Write(name, append(data, '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// ReadRecord returns the record of a box; fs.ErrNotExist when there is none.
func ReadRecord(name, id string) (Record, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return Record{}, err
	}
	r, err := ParseRecord(data)
	if err != nil {
		return Record{}, fmt.Errorf("%q: %w", name, err)
	}
	if r.ID != id {
		return Record{}, fmt.Errorf("%q is the state of box %q", name, r.ID)
	}
	return r, nil
}

// ParseRecord decodes a record and checks it: what it names will be killed and removed.
func ParseRecord(data []byte) (Record, error) {
	if len(data) > maxRecord {
		return Record{}, fmt.Errorf("state of %d bytes is longer than %d", len(data), maxRecord)
	}
	var r Record
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return Record{}, fmt.Errorf("decode state: %w", err)
	}
	if r.Version != recordVersion {
		return Record{}, fmt.Errorf("state has version %d, not %d", r.Version, recordVersion)
	}
	if err := CheckID(r.ID); err != nil {
		return Record{}, err
	}
	if r.PID < 0 || r.PID == 1 || r.PID > 1<<22 {
		return Record{}, fmt.Errorf("process %d cannot be a box", r.PID)
	}
	return r, r.Groups.Check(r.ID)
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
