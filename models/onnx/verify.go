package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// verify runs the model once with ONNX Runtime's profiler and looks which providers its nodes really
// ran on: a session that came up on a GPU may still leave every node to the CPU.
func (m *model) verify(p Provider, attach func(*ort.SessionOptions) error) error {
	placed, err := m.placement(p, attach)
	if err != nil {
		return err
	}
	where := make([]string, 0, len(placed))
	for name, nodes := range placed {
		where = append(where, fmt.Sprintf("%d on %s", nodes, name))
	}
	sort.Strings(where)
	if placed[p.kernels()] == 0 {
		return fmt.Errorf("it runs no part of this model; nodes: %s", strings.Join(where, ", "))
	}
	m.Log.Info("nodes of the model", "provider", p, "nodes", strings.Join(where, ", "))
	return nil
}

// placement counts the model's nodes by the provider that they ran on, in ONNX Runtime's words.
func (m *model) placement(p Provider, attach func(*ort.SessionOptions) error) (map[string]int, error) {
	folder, err := os.MkdirTemp("", "sightline-profile-*")
	if err != nil {
		return nil, fmt.Errorf("folder for a profile: %w", err)
	}
	defer os.RemoveAll(folder)
	s, err := newSession(m.file.Bytes, m.fit, p, m.Threads, func(o *ort.SessionOptions) error {
		if err := attach(o); err != nil {
			return err
		}
		return o.EnableProfiling(filepath.Join(folder, "profile"))
	})
	if err != nil {
		return nil, err
	}
	_, err = s.probe(max(m.fit.Batch, 1))
	if err = errors.Join(err, s.close()); err != nil { // the profile is written when the session ends
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(folder, "profile*"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("ONNX Runtime left %d profiles, not 1", len(files))
	}
	return readProfile(files[0])
}

// readProfile reads the trace events that ONNX Runtime's profiler writes.
func readProfile(path string) (map[string]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("profile of the model: %w", err)
	}
	var events []struct {
		Category string `json:"cat"`
		Name     string `json:"name"`
		Args     struct {
			Provider string `json:"provider"`
		} `json:"args"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return nil, fmt.Errorf("profile of the model: %w", err)
	}
	placed := map[string]int{}
	for _, e := range events {
		if e.Category == "Node" && e.Args.Provider != "" && strings.HasSuffix(e.Name, "_kernel_time") {
			placed[e.Args.Provider]++
		}
	}
	return placed, nil
}
