//go:build cgo

package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
)

// boxes tries a box of each kind.
func (d *doctor) boxes(ctx context.Context, b closures.Builder) {
	d.title("Boxes")
	d.programs(b)
	d.line(true, "%s: in sightline itself", configs.Inline)
	drivers := boxDrivers(configs.Runtime{})
	for _, kind := range configs.Boxes() {
		driver, ok := drivers[kind]
		if !ok {
			continue
		}
		probe := driver.Probe(ctx)
		if probe.Err != nil {
			d.line(false, "%s: %s", kind, probe.Err)
			continue
		}
		d.line(true, "%s: %s\nprotects by %s", kind, probe.Engine, strings.Join(probe.Protect, ", "))
		for _, lack := range probe.Lacks {
			d.line(false, "%s lacks %s", kind, lack)
		}
	}
}

// programs says where the stages' programs are, which every box but inline needs.
func (d *doctor) programs(b closures.Builder) {
	var problems []error
	var folder string
	for _, kind := range []string{closures.Capture, closures.Classify, closures.Publish} {
		at, err := b.Program(kind)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		folder = filepath.Dir(at)
	}
	if err := errors.Join(problems...); err != nil {
		d.line(false, "%s", err)
		return
	}
	d.line(true, "the stages' programs, in %s", folder)
}
