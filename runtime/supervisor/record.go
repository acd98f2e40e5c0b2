package supervisor

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sightline/runtime/durable"
	"sightline/runtime/supervisor/restart"
)

const (
	recordVersion = 1
	maxRecord     = 4 << 20 // bytes; documents are part of some

	planFile   = "plan.json"
	stagesDir  = "stages"
	boxesDir   = "boxes"
	logsDir    = "logs"
	auditDir   = "audit"
	lockFile   = "lock"
	recordFile = "box.json"
	socketFile = "wire.sock"

	nonceSize  = 32
	idRandom   = 10 // letters
	idName     = 12
	maxFailed  = 16
	maxAddress = 107 // of a unix socket; unix(7)
	// maxSocket is what drivers may call sockets of their own in the folder of a box.
	maxSocket = 16
)

// longest is how long the path of a state folder may be.
const longest = maxAddress - len("/"+boxesDir+"/") - idName - 1 - idRandom - len("/") - maxSocket

// record is the intent to run a box.
type record struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	Stage    string    `json:"stage"`
	Of       version   `json:"of"`
	Nonce    []byte    `json:"nonce"`
	Enrolled bool      `json:"enrolled,omitempty"` // the box knows the nonce
	Ran      bool      `json:"ran,omitempty"`      // the driver has said that it runs
	Stopping bool      `json:"stopping,omitempty"` // it was asked to end
	Created  time.Time `json:"created"`
}

var boxID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// newRecord chooses an ID and a nonce.
func newRecord(stage string, of version) record {
	short := strings.ReplaceAll(stage, "_", "-")
	nonce := make([]byte, nonceSize)
	rand.Read(nonce) // never fails, by its contract
	return record{
		Version: recordVersion,
		ID:      strings.Trim(short[:min(len(short), idName)], "-") + "-" + strings.ToLower(rand.Text()[:idRandom]),
		Stage:   stage, Of: of, Nonce: nonce, Created: time.Now().UTC(),
	}
}

func parseRecord(data []byte) (record, error) {
	var r record
	if err := durable.Decode(data, &r); err != nil {
		return r, err
	}
	switch {
	case r.Version != recordVersion:
		return r, fmt.Errorf("it has version %d, not %d", r.Version, recordVersion)
	case !boxID.MatchString(r.ID):
		return r, fmt.Errorf("%q is no ID of a box", r.ID)
	case !name.MatchString(r.Stage):
		return r, fmt.Errorf("%q is no name of a stage", r.Stage)
	case len(r.Nonce) != nonceSize:
		return r, fmt.Errorf("its nonce has %d bytes, not %d", len(r.Nonce), nonceSize)
	}
	return r, nil
}

// boxes is the folder with the intents.
type boxes struct{ dir string }

func (b boxes) folder(id string) string { return filepath.Join(b.dir, id) }

// write puts an intent on the disk, the first time with the folder of its box.
func (b boxes) write(r record) error {
	dir := b.folder(r.ID)
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := durable.SyncFolder(b.dir); err != nil {
			return durable.Space(b.dir, err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return durable.Space(b.dir, err)
	}
	return durable.WriteJSON(filepath.Join(dir, recordFile), r)
}

// remove takes an intent away, with what is left in the folder, the intent first: a folder without one
// belongs to no box.
func (b boxes) remove(id string) error {
	dir := b.folder(id)
	if err := durable.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return durable.SyncFolder(b.dir)
}

// unreadable is an intent that can't be read.
type unreadable struct {
	id  string
	err error
}

// all reads all intents. Folders that never got one are removed.
func (b boxes) all() (records []record, bad []unreadable, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		at := filepath.Join(b.folder(e.Name()), recordFile)
		data, err := os.ReadFile(at)
		if errors.Is(err, fs.ErrNotExist) {
			if err := b.remove(e.Name()); err != nil {
				return nil, nil, err
			}
			continue
		}
		var r record
		if err == nil {
			r, err = parseRecord(data)
		}
		if err == nil && r.ID != e.Name() {
			err = fmt.Errorf("it is the intent of box %q", r.ID)
		}
		if err != nil {
			bad = append(bad, unreadable{e.Name(), fmt.Errorf("%q: %w", at, err)})
			continue
		}
		records = append(records, r)
	}
	return records, bad, nil
}

// memory is what is remembered of a stage.
type memory struct {
	Version  int           `json:"version"`
	Stage    string        `json:"stage"`
	Stopped  bool          `json:"stopped,omitempty"` // by the operator
	Good     *good         `json:"good,omitempty"`    // what held last
	Failed   []failed      `json:"failed,omitempty"`  // what did not, the newest last
	Lenient  bool          `json:"lenient,omitempty"` // the version on trial needn't be ready: the one before was not either
	Restarts int           `json:"restarts,omitempty"`
	History  []restart.End `json:"history,omitempty"`
	Last     *End          `json:"last,omitempty"`
}

// good is a version that held, with what it takes to run it again.
type good struct {
	Of       version         `json:"of"`
	Wired    bool            `json:"wired,omitempty"`
	Grace    time.Duration   `json:"grace"`
	Patience time.Duration   `json:"patience"`
	Document json.RawMessage `json:"document,omitempty"`
}

// failed is a version that did not hold.
type failed struct {
	Key string    `json:"key"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// forStage returns an empty one for what is not that stage's.
func (m memory) forStage(stage string) (memory, error) {
	if m.Version != recordVersion || m.Stage != stage {
		return memory{Version: recordVersion, Stage: stage}, fmt.Errorf("it is of stage %q with version %d, not of %q with %d", m.Stage, m.Version, stage, recordVersion)
	}
	return m, nil
}

// planRecord is the last accepted plan.
type planRecord struct {
	Version  int               `json:"version"`
	Name     string            `json:"name"`
	At       time.Time         `json:"at"`
	Document json.RawMessage   `json:"document,omitempty"`
	Stages   map[string]string `json:"stages"` // digest by name
}
