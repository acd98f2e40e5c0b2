//go:build cgo

package main

import (
	"errors"

	"sightline/pipeline"
	"sightline/sources"
	cameras "sightline/sources/device"
	"sightline/sources/file"
)

// newLocal makes a source that is something of this machine.
func newLocal(c sources.Config) (pipeline.Source, error) {
	if c.File != nil {
		return &file.Source{Config: *c.File}, nil
	}
	if c.Device != nil {
		return &cameras.Source{Config: *c.Device}, nil
	}
	return nil, errors.New("no kind of source")
}
