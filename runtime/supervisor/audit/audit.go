// Package audit keeps an append-only log in which each record holds the hash of the one before it,
// so that no record can be changed, left out or put in without showing.
//
// A log is a folder:
//
//	audit.jsonl             the records, one JSON object a line, the newest last
//	audit-<sequence>.jsonl  earlier ones; the number is that of the file's first record
//	head                    sequence and hash of the newest record
//	torn-<sequence>         what a power cut left of a record that never became whole
//
// A line is an object whose last member is "hash", the SHA-256 (FIPS 180-4) in hexadecimal of what
// stands before it in the line, which includes "prev", the hash of the record before. The first
// record's prev is 64 zeros. A record is on the disk when Append returns.
//
// # What shows, and what does not
//
// A change of any byte of a record shows, and so does a record that is missing between two others.
// Records missing at the end show by the head, which is written after each record but not forced to
// the disk, so that after a power cut it can be a few records behind, never ahead. Old files that
// were removed because the log was full are named by a record in the chain; others that are missing
// at the beginning show. Who can write to the folder and takes records from the end and rewrites
// head, or writes the whole chain anew, is not found out: for that the newest hash has to be kept
// elsewhere; Verify returns it.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sightline/runtime/durable"
)

// Record is one record.
type Record struct {
	Sequence uint64            `json:"seq"`
	Time     time.Time         `json:"time"`
	Event    string            `json:"event"`
	Fields   map[string]string `json:"fields,omitempty"`
	Previous string            `json:"prev"`
	Hash     string            `json:"hash,omitempty"`
}

// Events of the log itself.
const (
	TornEvent    = "audit.torn"    // what a power cut left of a record was set aside
	BrokenEvent  = "audit.broken"  // the chain before this record does not hold
	RemovedEvent = "audit.removed" // the oldest file was removed, as there is room for so many
)

const (
	current  = "audit.jsonl"
	headFile = "head"
	zeros    = "0000000000000000000000000000000000000000000000000000000000000000"

	maxLine = 64 << 10 // bytes of a record
)

// Options bound the log. Zeros have the defaults given.
type Options struct {
	MaxBytes int64            // of one file: 4 MiB
	MaxFiles int              // with the newest: 16
	Now      func() time.Time // time.Now
}

// Log is an open log. Its methods may be called from several goroutines.
type Log struct {
	dir     string
	options Options

	mu       sync.Mutex
	file     *os.File // nil after an error: it is opened anew
	head     *os.File
	size     int64
	sequence uint64 // of the newest record
	hash     string // of it
}

// Open opens the log in dir, which it makes if need be. What a power cut left of a last record is set
// aside, and that said in a record; so is a chain that does not hold.
func Open(dir string, o Options) (*Log, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 4 << 20
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l := &Log{dir: dir, options: o, hash: zeros}
	if err := l.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("open audit log: %w", err), l.Close())
	}
	return l, nil
}

// resume finds the end of the chain and goes on from it.
func (l *Log) resume() error {
	end, err := findEnd(l.dir)
	if err != nil {
		return err
	}
	l.sequence, l.hash = end.sequence, end.hash
	if end.sequence == 0 {
		l.hash = zeros
	}
	if err := l.open(); err != nil {
		return err
	}
	if len(end.torn) > 0 {
		if err := l.setAside(end); err != nil {
			return err
		}
	}
	if end.broken != nil {
		return l.append(BrokenEvent, map[string]string{"problem": end.broken.Error()})
	}
	return nil
}

// setAside takes what is left of a record out of the log.
func (l *Log) setAside(end logEnd) error {
	name := fmt.Sprintf("torn-%012d", l.sequence+1)
	if err := durable.Write(filepath.Join(l.dir, name), end.torn); err != nil {
		return err
	}
	if err := l.file.Truncate(end.whole); err != nil {
		return err
	}
	l.size = end.whole
	return l.append(TornEvent, map[string]string{"bytes": fmt.Sprint(len(end.torn)), "sha256": sum(end.torn), "file": name})
}

func (l *Log) open() error {
	if l.head == nil {
		head, err := os.OpenFile(filepath.Join(l.dir, headFile), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		l.head = head
	}
	f, err := os.OpenFile(filepath.Join(l.dir, current), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, size
	return durable.SyncFolder(l.dir)
}

// Append adds a record. It is on the disk when Append returns; after an error it is not in the log.
func (l *Log) Append(event string, fields map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(event, fields); err != nil {
		return fmt.Errorf("write %q to the audit log: %w", event, durable.Space(l.dir, err))
	}
	return nil
}

func (l *Log) append(event string, fields map[string]string) error {
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size >= l.options.MaxBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	return l.write(event, fields)
}

func (l *Log) write(event string, fields map[string]string) error {
	r := Record{Sequence: l.sequence + 1, Time: l.options.Now().UTC().Truncate(time.Microsecond), Event: event, Fields: fields, Previous: l.hash}
	line, hash, err := encode(r)
	if err != nil {
		return err
	}
	_, err = l.file.Write(line)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil { // a part of it may be there
		err = errors.Join(err, l.file.Truncate(l.size), l.file.Sync(), l.file.Close())
		l.file = nil
		return err
	}
	l.size += int64(len(line))
	l.sequence, l.hash = r.Sequence, hash
	_, err = l.head.WriteAt(fmt.Appendf(nil, "%020d %s\n", l.sequence, l.hash), 0)
	return err
}

// rotate begins a new file, and removes the oldest when there are too many.
func (l *Log) rotate() error {
	first, err := firstSequence(filepath.Join(l.dir, current))
	if err != nil {
		return err
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	l.file = nil
	if err := os.Rename(filepath.Join(l.dir, current), filepath.Join(l.dir, fmt.Sprintf("audit-%020d.jsonl", first))); err != nil {
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	names, err := files(l.dir)
	if err != nil || len(names) <= l.options.MaxFiles {
		return err
	}
	return l.removeOldest(names[0])
}

// removeOldest says first what it removes: a kill in between leaves a file that is also named gone.
func (l *Log) removeOldest(name string) error {
	last, err := lastRecord(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	err = l.write(RemovedEvent, map[string]string{"file": name, "until": fmt.Sprint(last.Sequence), "hash": last.Hash})
	return errors.Join(err, durable.Remove(filepath.Join(l.dir, name)))
}

// Close closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range []*os.File{l.file, l.head} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	l.file, l.head = nil, nil
	return errors.Join(errs...)
}

// hashPart is what stands between the hashed bytes of a line and its hash.
const hashPart = `,"hash":"`

// encode returns the line of a record, and its hash.
func encode(r Record) (line []byte, hash string, err error) {
	r.Hash = ""
	body, err := json.Marshal(r)
	if err != nil {
		return nil, "", err
	}
	body = body[:len(body)-1]
	hash = sum(body)
	line = append(append(append(body, hashPart...), hash...), "\"}\n"...)
	if len(line) > maxLine {
		return nil, "", fmt.Errorf("a record of %d bytes is longer than %d", len(line), maxLine)
	}
	return line, hash, nil
}

// decode reads a line without its end and checks its hash.
func decode(line []byte) (Record, error) {
	body, ok := bytes.CutSuffix(line, []byte(`"}`))
	at := len(body) - sha256.Size*2 - len(hashPart)
	if !ok || at < 0 || !bytes.HasPrefix(body[at:], []byte(hashPart)) {
		return Record{}, errors.New("it is no record: it has no hash at its end")
	}
	var r Record
	if err := durable.Decode(line, &r); err != nil {
		return Record{}, fmt.Errorf("it is no record: %w", err)
	}
	if r.Hash != sum(body[:at]) {
		return r, fmt.Errorf("record %d was changed: its hash does not fit", r.Sequence)
	}
	return r, nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// files returns the names of the log's files, the oldest first.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	newest := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == current:
			newest = true
		case strings.HasPrefix(name, "audit-") && strings.HasSuffix(name, ".jsonl"):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if newest {
		names = append(names, current)
	}
	return names, nil
}
