// Package onnx runs image classifiers with ONNX Runtime, whose shared library is loaded when the
// program starts, not linked.
package onnx

import (
	"errors"
	"fmt"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models/onnx/library"
)

// Runtime is the loaded library with its one environment. A process has one, made by main.
type Runtime struct {
	library, version string
	open             atomic.Int64 // models that are loaded or being loaded
}

// Start finds and loads the library; named is as in Find.
func Start(named string) (*Runtime, error) {
	if ort.IsInitialized() {
		return nil, errors.New("start ONNX Runtime: a process has one, and it is already started")
	}
	path, _, err := library.Find(named)
	if err != nil {
		return nil, err
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("load ONNX Runtime %q: %w", path, err)
	}
	r := &Runtime{library: path, version: ort.GetVersion()}
	if err := library.CheckVersion(path, r.version); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := ort.DisableTelemetry(); err != nil {
		return nil, errors.Join(fmt.Errorf("switch ONNX Runtime's telemetry off: %w", err), r.Close())
	}
	return r, nil
}

// Version is the library's own, like 1.24.1.
func (r *Runtime) Version() string { return r.version }

// Library is the path that was loaded.
func (r *Runtime) Library() string { return r.library }

// ErrInUse is returned by Close while models are open.
var ErrInUse = errors.New("models are open")

// Close unloads the library. While a model is open, or is still being loaded by a stage that did not
// wait for it, it leaves the library where it is and returns ErrInUse.
func (r *Runtime) Close() error {
	if n := r.open.Load(); n != 0 {
		return fmt.Errorf("unload ONNX Runtime: %w: %d", ErrInUse, n)
	}
	if err := ort.DestroyEnvironment(); err != nil {
		return fmt.Errorf("unload ONNX Runtime: %w", err)
	}
	return nil
}
