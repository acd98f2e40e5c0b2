package onnx

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models"
	"sightline/pipeline"
)

// maxInputBytes bounds the memory of the largest batch.
const maxInputBytes = 1 << 30

// Options say which model to run, and on what.
type Options struct {
	Path      string            // the .onnx file, or with Bytes the name of a built-in model
	Bytes     []byte            // the model, when it is not read from Path
	Card      *models.Card      // what it means; nil: found as in models.CardFor
	CardPath  string            // where the card is; "": beside the model, or its metadata
	Name      string            // of a model whose card has none; "": the file's
	Provider  Provider          // default CPU
	GPU       int               // device number for CUDA and TensorRT
	Threads   int               // of one inference; 0: the number of processors, at most 4
	Batch     int               // most frames in one call of Classify; 0: 1, or the model's own
	Half      bool              // TensorRT may compute with half precision
	CacheDir  string            // folder for optimised graphs and engines; "": none are kept
	Threshold *float64          // instead of the card's
	TopK      *int              // instead of the card's
	Regions   []pipeline.Region // parts of the picture to classify; none: the whole
	Log       *slog.Logger      // nil: nothing is logged
}

// model is what Open has found out before anything is loaded.
type model struct {
	Options
	runtime *Runtime
	file    models.File
	fit     *models.Fit
}

// Open loads a model and warms it up: the classifier is ready to answer at full speed. What will not
// do better the next time is marked by pipeline.Permanent: a model, a card or a named provider that
// does not fit.
func Open(r *Runtime, o Options) (*Classifier, error) {
	r.open.Add(1)
	c, err := open(r, o)
	if err != nil {
		r.open.Add(-1)
		return nil, pipeline.Permanent(err)
	}
	return c, nil
}

func open(r *Runtime, o Options) (*Classifier, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &model{Options: o, runtime: r}
	if err := m.read(); err != nil {
		return nil, err
	}
	candidates, err := o.Provider.candidates()
	if err != nil {
		return nil, err
	}
	for _, p := range candidates {
		var c *Classifier
		if c, err = m.open(p); err == nil {
			return c, nil
		}
		if p != candidates[len(candidates)-1] {
			o.Log.Info("provider passed over", "provider", p, "reason", err)
		}
	}
	return nil, err
}

// read reads the file and its card and puts them together.
func (m *model) read() error {
	m.file = models.NewFile(m.Path, m.Bytes)
	if m.Bytes == nil {
		var err error
		if m.file, err = models.ReadFile(m.Path); err != nil {
			return err
		}
	}
	fit, err := m.file.Fit(m.Card, m.CardPath)
	if err != nil {
		return fmt.Errorf("model %q: %w", m.file.Path, err)
	}
	m.fit = fit
	m.override()
	if m.Batch < 1 {
		m.Batch = 1
	}
	if m.Threads < 1 {
		m.Threads = min(runtime.GOMAXPROCS(0), 4)
	}
	size, _ := element(fit.Input.Type)
	if bytes := max(m.Batch, fit.Batch) * size * fit.Width * fit.Height * fit.Channels; bytes > maxInputBytes {
		return fmt.Errorf("model %q: the input of %d frames takes %d bytes, more than the %d that are allowed", m.file.Path, m.Batch, bytes, maxInputBytes)
	}
	return nil
}

// override puts the pipeline file's numbers in place of the card's, on a copy.
func (m *model) override() {
	card := *m.fit.Card
	if m.Threshold != nil {
		card.Threshold = *m.Threshold
	}
	if m.TopK != nil {
		card.TopK = *m.TopK
	}
	m.fit.Card = &card
}

// frames is the number of frames that the tensors are made for.
func (m *model) frames() int {
	if m.fit.Batch > 0 {
		return m.fit.Batch
	}
	return m.Batch
}

// open brings the model up on one provider.
func (m *model) open(p Provider) (*Classifier, error) {
	s, err := m.load(p)
	if err != nil {
		return nil, err
	}
	c, err := m.ready(s)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	m.Log.Info("model is ready", "model", c.info.Name, "provider", p, "threads", m.Threads,
		"input", m.fit.Input.String(), "classes", m.fit.Classes, "batch", c.info.MaxBatch)
	return c, nil
}

func (m *model) load(p Provider) (*session, error) {
	if p == CPU {
		s, err := m.loadCPU()
		if err != nil {
			return nil, fmt.Errorf("load the model %q: %s", m.file.Path, reason(err))
		}
		return s, nil
	}
	s, err := m.loadGPU(p)
	if err != nil {
		return nil, &ProviderError{p, err}
	}
	return s, nil
}

// loadCPU takes the optimised graph from the cache, or makes it and puts it there.
func (m *model) loadCPU() (*session, error) {
	cached := m.cache(CPU)
	if graph := cached.graph(); graph != nil {
		s, err := newSession(graph, m.fit, CPU, m.Threads, func(o *ort.SessionOptions) error {
			return o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll)
		})
		if err == nil {
			return s, nil
		}
		m.Log.Warn("cached graph does not load, and is made anew", "reason", err)
	}
	file := cached.newGraph()
	s, err := newSession(m.file.Bytes, m.fit, CPU, m.Threads, func(o *ort.SessionOptions) error {
		if file == "" {
			return nil
		}
		return o.SetOptimizedModelFilePath(file)
	})
	cached.keepGraph(file, err)
	return s, err
}

// loadGPU loads the model twice: first to see where its parts run, then to keep.
func (m *model) loadGPU(p Provider) (*session, error) {
	engines, remove, err := m.engineFolder(p)
	if err != nil {
		return nil, err
	}
	defer remove()
	attach := func(o *ort.SessionOptions) error {
		return p.attach(o, m.GPU, tensorRTOptions(engines, m.Half, m.fit, m.frames()))
	}
	if p == TensorRT {
		m.Log.Info("TensorRT builds its engine unless it is in the cache; that may take minutes", "cache", engines)
	}
	if err := m.verify(p, attach); err != nil {
		return nil, err
	}
	return newSession(m.file.Bytes, m.fit, p, m.Threads, attach)
}

// engineFolder is where TensorRT keeps its engines: in the cache, else in a folder that is removed
// when the model is loaded.
func (m *model) engineFolder(p Provider) (folder string, remove func(), err error) {
	if p != TensorRT {
		return "", func() {}, nil
	}
	if folder := m.cache(p).engines(); folder != "" {
		return folder, func() {}, nil
	}
	folder, err = os.MkdirTemp("", "sightline-engines-*")
	if err != nil {
		return "", nil, fmt.Errorf("folder for engines: %w", err)
	}
	return folder, func() { os.RemoveAll(folder) }, nil
}
