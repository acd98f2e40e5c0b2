// Package order is what the supervisor and the init of a Linux guest tell each other over a port of
// virtio-serial that the stage can't open: what to become, to stop, and how it ended.
package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Ports of a guest, by their names.
const (
	InitPort  = "init.0"  // orders in, a report out, one line of JSON each
	LogPort   = "log.0"   // what the stage prints
	StagePort = "stage.0" // its wire
)

// Wire is where the stage finds its wire, which is the last argument of its program.
const Wire = "/dev/wire"

// ModuleFolder is where the init finds the kernel's modules, which it loads in the order of their names.
const ModuleFolder = "/modules"

// MaxLine bounds a line in both directions, in bytes.
const MaxLine = 4096

// version of the lines.
const version = 1

// Order is the first line that an init reads: what to become.
type Order struct {
	Version int      `json:"version"`
	Program []string `json:"program"` // a path inside the closure, and arguments
	UID     int      `json:"uid"`     // user and group of the stage, not root
	PIDs    int      `json:"pids,omitempty"`
	Trial   bool     `json:"trial,omitempty"` // report success instead of running anything
}

// Stop is the line that asks the stage to end.
const Stop = `"stop"`

// Report is the line with which an init says how its stage ended.
type Report struct {
	Version     int    `json:"version"`
	Code        int    `json:"code"`             // exit status; -1 after a signal
	Signal      string `json:"signal,omitempty"` // its name
	OutOfMemory bool   `json:"out_of_memory,omitempty"`
	Error       string `json:"error,omitempty"` // why the stage was not started
}

// Encode returns the order as a line.
func (o Order) Encode() ([]byte, error) {
	o.Version = version
	if err := o.check(); err != nil {
		return nil, err
	}
	return encode(o)
}

// Encode returns the report as a line; of an error that is too long it keeps the beginning.
func (r Report) Encode() ([]byte, error) {
	r.Version = version
	if len(r.Error) > MaxLine/8 { // each byte may become six
		r.Error = r.Error[:MaxLine/8]
	}
	return encode(r)
}

func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(data) >= MaxLine {
		return nil, fmt.Errorf("a line of %d bytes is longer than %d: give the program fewer arguments", len(data), MaxLine)
	}
	return append(data, '\n'), nil
}

func (o Order) check() error {
	switch {
	case o.Version != version:
		return fmt.Errorf("order has version %d, not %d", o.Version, version)
	case len(o.Program) == 0 || !path.IsAbs(o.Program[0]):
		return fmt.Errorf("program %q is not an absolute path", o.Program)
	case o.UID <= 0:
		return fmt.Errorf("a stage doesn't run as user %d", o.UID)
	case o.PIDs < 0:
		return fmt.Errorf("a stage doesn't have %d processes", o.PIDs)
	}
	for _, word := range o.Program {
		if strings.Contains(word, "\x00") {
			return errors.New("a program's arguments have no zero bytes")
		}
	}
	return nil
}

// ParseOrder decodes an order and checks it.
func ParseOrder(line []byte) (Order, error) {
	var o Order
	if err := json.Unmarshal(line, &o); err != nil {
		return Order{}, fmt.Errorf("decode order: %w", err)
	}
	return o, o.check()
}

// ParseReport decodes a report. It comes from a guest, whose stage may have got into its kernel.
func ParseReport(line []byte) (Report, error) {
	var r Report
	if len(line) > MaxLine {
		return Report{}, fmt.Errorf("report of %d bytes is longer than %d", len(line), MaxLine)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Report{}, fmt.Errorf("decode report: %w", err)
	}
	if r.Version != version {
		return Report{}, fmt.Errorf("report has version %d, not %d", r.Version, version)
	}
	if r.Code < -1 || r.Code > 255 || len(r.Signal) > 16 || strings.Trim(r.Signal, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+") != "" {
		return Report{}, fmt.Errorf("report of exit status %d and signal %.20q makes no sense", r.Code, r.Signal)
	}
	r.Error = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, r.Error)
	return r, nil
}
