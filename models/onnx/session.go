package onnx

import (
	"errors"
	"fmt"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models"
)

// session is a loaded model with the memory for its inputs and outputs.
type session struct {
	fit      *models.Fit
	provider Provider
	run      *ort.DynamicAdvancedSession
	input    *buffer // all batch sizes share it: frames lie one after the other
	output   *buffer
	scores   []int64 // shape of the output for one batch, as a run gave it
	batches  []*batch
}

// batch is what a run of a certain number of frames takes. On the CPU the tensors are bound once,
// and a run allocates nothing; a binding for a GPU would copy the input once and for all, so there
// they are handed over with every run.
type batch struct {
	in, out []ort.Value
	binding *ort.IoBinding
}

// newSession makes a session of the model's bytes. extra sets what the caller wants of the options.
func newSession(data []byte, fit *models.Fit, p Provider, threads int, extra func(*ort.SessionOptions) error) (*session, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := configure(options, threads); err != nil {
		return nil, err
	}
	if err := extra(options); err != nil {
		return nil, err
	}
	run, err := ort.NewDynamicAdvancedSessionWithONNXData(data, []string{fit.Input.Name}, []string{fit.Output.Name}, options)
	if err != nil {
		return nil, err
	}
	return &session{fit: fit, provider: p, run: run}, nil
}

// configure bounds the threads and stops them from spinning while there is nothing to do, which
// costs whole cores (microsoft/onnxruntime#26847).
func configure(options *ort.SessionOptions, threads int) error {
	return errors.Join(
		options.SetIntraOpNumThreads(threads),
		options.SetInterOpNumThreads(1),
		options.SetExecutionMode(ort.ExecutionModeSequential),
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		options.SetLogSeverityLevel(ort.LoggingLevelFatal),
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		options.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
	)
}

// probe runs the model once, on what the buffer holds, and learns the shape that the output really
// has. Of half-precision outputs the shape is taken as the file has it: the binding makes tensors of
// half the size when it is to make them itself.
func (s *session) probe(n int) ([]int64, error) {
	size, _ := element(s.fit.Input.Type)
	if s.input == nil {
		s.input = newBuffer(n * size * s.fit.Width * s.fit.Height * s.fit.Channels)
	}
	in, err := s.input.tensor(s.fit.Shape(n), s.fit.Input.Type)
	if err != nil {
		return nil, err
	}
	defer in.Destroy()
	out := []ort.Value{nil}
	if s.fit.Output.Type == models.Float16 {
		shape := s.expected(n)
		memory := newBuffer(2 * n * s.fit.Classes)
		defer memory.close()
		if out[0], err = memory.tensor(shape, models.Float16); err != nil {
			return nil, err
		}
	}
	err = s.run.Run([]ort.Value{in}, out)
	if out[0] == nil {
		return nil, err
	}
	defer out[0].Destroy()
	return out[0].GetShape(), err
}

// expected is the output's shape for n frames as the file and the labels tell it: the classes are
// where the largest dimension is, else where the first open one is.
func (s *session) expected(n int) []int64 {
	shape := slices.Clone(s.fit.Output.Shape)
	shape[0] = int64(n)
	open := slices.Max(shape[1:]) <= 1
	for i, d := range shape[1:] {
		if d < 0 {
			shape[i+1] = 1
			if open {
				shape[i+1], open = int64(s.fit.Classes), false
			}
		}
	}
	return shape
}

// allocate makes the tensors: for every number of frames up to most when the model's batch is open,
// else for the one that it takes. shape is the output's for one frame, or for the fixed batch.
func (s *session) allocate(shape []int64, most int) error {
	s.scores = shape
	inSize, _ := element(s.fit.Input.Type)
	outSize, _ := element(s.fit.Output.Type)
	s.input.close()
	s.input = newBuffer(most * inSize * s.fit.Width * s.fit.Height * s.fit.Channels)
	s.output = newBuffer(most * outSize * s.fit.Classes)
	s.batches = make([]*batch, most+1)
	for n := 1; n <= most; n++ {
		if s.fit.Batch > 0 && n != s.fit.Batch {
			continue
		}
		b, err := s.newBatch(n)
		if err != nil {
			return fmt.Errorf("tensors for %d frames: %w", n, err)
		}
		s.batches[n] = b
	}
	return nil
}

func (s *session) newBatch(n int) (b *batch, err error) {
	b = &batch{}
	defer func() {
		if err != nil {
			b.destroy()
		}
	}()
	in, err := s.input.tensor(s.fit.Shape(n), s.fit.Input.Type)
	if err != nil {
		return b, err
	}
	b.in = []ort.Value{in}
	shape := append([]int64{int64(n)}, s.scores[1:]...)
	out, err := s.output.tensor(shape, s.fit.Output.Type)
	if err != nil {
		return b, err
	}
	b.out = []ort.Value{out}
	if s.provider != CPU {
		return b, nil
	}
	if b.binding, err = s.run.CreateIoBinding(); err != nil {
		return b, err
	}
	if err = b.binding.BindInput(s.fit.Input.Name, in); err != nil {
		return b, err
	}
	return b, b.binding.BindOutput(s.fit.Output.Name, out)
}

// infer runs the model on n frames in the input buffer; a fixed batch is run whole.
func (s *session) infer(n int) error {
	if s.fit.Batch > 0 {
		n = s.fit.Batch
	}
	b := s.batches[n]
	if b.binding != nil {
		return s.run.RunWithBinding(b.binding)
	}
	return s.run.Run(b.in, b.out)
}

func (b *batch) destroy() {
	if b.binding != nil {
		b.binding.Destroy()
	}
	for _, v := range append(b.in, b.out...) {
		v.Destroy()
	}
}

func (s *session) close() error {
	for _, b := range s.batches {
		if b != nil {
			b.destroy()
		}
	}
	err := s.run.Destroy()
	for _, b := range []*buffer{s.input, s.output} {
		if b != nil {
			b.close()
		}
	}
	return err
}
