package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sightline/configs"
)

// supervisorName is the program that is built of the same package without C: the supervisor alone,
// without the libraries of cameras and models, so with a third of the memory.
const supervisorName = "sightline-supervisor"

// handOver becomes the supervisor alone when no stage of the pipeline needs more in this process, and
// that program lies beside this one. It returns when it does not.
func handOver(p *configs.Pipeline) error {
	if !inPlace || needsC(p) {
		return nil
	}
	own, err := os.Executable()
	if err != nil {
		return nil //nolint:nilerr // this program serves as well
	}
	path := filepath.Join(filepath.Dir(own), supervisorName)
	err = syscall.Exec(path, append([]string{path}, os.Args[1:]...), os.Environ())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("start %s: %w", path, err)
}

// needsC tells whether a stage in place decodes or infers.
func needsC(p *configs.Pipeline) bool {
	for name := range p.Sources {
		if p.BoxOf(name) == configs.Inline {
			return true
		}
	}
	for name := range p.Models {
		if p.BoxOf(name) == configs.Inline {
			return true
		}
	}
	return false
}
