package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// BreakError says where a chain does not hold.
type BreakError struct {
	File     string
	Line     int    // counted from 1; 0: none
	Sequence uint64 // of the record, as far as it says one
	Why      string
}

// Error says all of it.
func (e *BreakError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("audit log does not hold at %s: %s", e.File, e.Why)
	}
	return fmt.Sprintf("audit log does not hold at %s:%d: %s", e.File, e.Line, e.Why)
}

// Summary is what is in a log.
type Summary struct {
	Files   int
	Records int
	First   uint64 // sequence of the oldest record; more than 1 when older ones were removed
	Last    uint64 // of the newest
	Hash    string // of the newest
	Torn    int    // records that a power cut tore, as the log itself says
	Tail    int    // bytes of a torn record at the end, of which the log can't yet say anything
}

// Verify checks the whole chain of the log in dir and hands each record to visit, if that is not nil.
// The error is a *BreakError for the first place where it does not hold.
func Verify(dir string, visit func(Record)) (Summary, error) {
	names, err := files(dir)
	if err != nil {
		return Summary{}, fmt.Errorf("verify audit log: %w", err)
	}
	c := &checker{visit: visit}
	for i, name := range names {
		if err := c.file(dir, name, i == len(names)-1); err != nil {
			return c.Summary, err
		}
	}
	c.Files = len(names)
	if err := c.checkBeginning(names); err != nil {
		return c.Summary, err
	}
	return c.Summary, c.checkEnd(dir)
}

type checker struct {
	Summary
	visit   func(Record)
	prev    string // of the first record
	removed string // hash of the newest record that was removed, as the log says
}

// file checks one file.
func (c *checker) file(dir, name string, last bool) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("verify audit log: %w", err)
	}
	defer f.Close()
	return scan(f, func(number int, line []byte, whole bool) error {
		if !whole && last {
			c.Tail = len(line)
			return nil
		}
		r, err := decode(line)
		if err == nil {
			err = c.next(r)
		}
		if err != nil {
			return &BreakError{name, number, r.Sequence, err.Error()}
		}
		if c.visit != nil {
			c.visit(r)
		}
		return nil
	})
}

// next checks that a record follows the one before it.
func (c *checker) next(r Record) error {
	switch {
	case c.Records == 0:
		c.First, c.prev = r.Sequence, r.Previous
	case r.Sequence != c.Last+1:
		return fmt.Errorf("record %d follows record %d", r.Sequence, c.Last)
	case r.Previous != c.Hash:
		return fmt.Errorf("record %d is not the one that was written after record %d", r.Sequence, c.Last)
	}
	c.Records, c.Last, c.Hash = c.Records+1, r.Sequence, r.Hash
	switch r.Event {
	case TornEvent:
		c.Torn++
	case RemovedEvent:
		c.removed = r.Fields["hash"]
	}
	return nil
}

// checkBeginning checks that the oldest record is the first one ever, or follows what the log says
// was removed.
func (c *checker) checkBeginning(names []string) error {
	if c.Records == 0 || c.First == 1 && c.prev == zeros || c.First > 1 && c.prev == c.removed {
		return nil
	}
	if c.removed != "" && c.First == 1 {
		return nil
	}
	return &BreakError{names[0], 1, c.First, fmt.Sprintf("the records before record %d are missing, and nothing says that they were removed", c.First)}
}

// checkEnd checks that the newest record that the head names is there.
func (c *checker) checkEnd(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, headFile))
	if errors.Is(err, fs.ErrNotExist) && c.Records == 0 {
		return nil
	}
	if err != nil {
		return &BreakError{headFile, 0, c.Last, err.Error()}
	}
	number, hash, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	sequence, err := strconv.ParseUint(number, 10, 64)
	switch {
	case len(data) == 0:
		return nil // a power cut came before it was on the disk
	case err != nil:
		return &BreakError{headFile, 0, c.Last, fmt.Sprintf("%q is no sequence and hash", data)}
	case sequence > c.Last:
		return &BreakError{headFile, 0, c.Last, fmt.Sprintf("the log ends with record %d, but record %d was written", c.Last, sequence)}
	case sequence == c.Last && hash != c.Hash:
		return &BreakError{headFile, 0, c.Last, fmt.Sprintf("record %d is not the one that was written", c.Last)}
	}
	return nil
}

// scan hands over each line without its end; whole is false for a last one that has no end.
func scan(r io.Reader, take func(number int, line []byte, whole bool) error) error {
	lines := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return fmt.Errorf("read audit log: %w", err)
		}
		if len(line) == 0 {
			return nil
		}
		text, whole := bytes.CutSuffix(line, []byte{'\n'})
		if err == bufio.ErrBufferFull {
			text, whole = text[:0], true // longer than any record: it is none
		}
		if stop := take(number, text, whole); stop != nil || err == io.EOF {
			return stop
		}
	}
}

// logEnd is where a log is to go on.
type logEnd struct {
	sequence uint64
	hash     string
	whole    int64  // bytes of the newest file up to what is torn
	torn     []byte // what is left of a record
	broken   error  // the newest file does not hold
}

// findEnd finds the end of a log, checking its newest file that has a record.
func findEnd(dir string) (logEnd, error) {
	names, err := files(dir)
	if err != nil {
		return logEnd{}, err
	}
	var end logEnd
	for i := len(names) - 1; i >= 0 && end.sequence == 0; i-- {
		newest := names[i] == current
		if err := end.find(dir, names[i], newest); err != nil {
			return logEnd{}, err
		}
	}
	return end, nil
}

func (e *logEnd) find(dir, name string, newest bool) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	return scan(f, func(number int, line []byte, whole bool) error {
		if !whole && newest {
			e.torn = bytes.Clone(line)
			return nil
		}
		if newest {
			e.whole += int64(len(line)) + 1
		}
		r, err := decode(line)
		if err == nil && e.sequence > 0 && (r.Sequence != e.sequence+1 || r.Previous != e.hash) {
			err = fmt.Errorf("record %d does not follow record %d", r.Sequence, e.sequence)
		}
		if err != nil && e.broken == nil {
			e.broken = &BreakError{name, number, r.Sequence, err.Error()}
		}
		if r.Hash != "" {
			e.sequence, e.hash = r.Sequence, r.Hash
		}
		return nil
	})
}

func firstSequence(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var first uint64
	err = scan(f, func(_ int, line []byte, _ bool) error {
		if r, err := decode(line); err == nil && first == 0 {
			first = r.Sequence
		}
		return nil
	})
	return first, err
}

func lastRecord(name string) (last Record, err error) {
	f, err := os.Open(name)
	if err != nil {
		return last, err
	}
	defer f.Close()
	err = scan(f, func(_ int, line []byte, _ bool) error {
		if r, err := decode(line); err == nil {
			last = r
		}
		return nil
	})
	return last, err
}
