package onnx

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sightline/models"
	"sightline/models/answer"
	"sightline/models/prepare"
	"sightline/pipeline"
)

// Classifier is a model on a provider, warmed up.
type Classifier struct {
	session  *session
	prepare  *prepare.Preparer
	answer   *answer.Decoder
	info     pipeline.ModelInfo
	wish     pipeline.Wish
	step     int       // most frames in one run
	scores   []float32 // of one frame
	quantum  float32   // of quantised scores
	zero     float32
	elements int // of one frame's input
	threads  int
	runtime  *Runtime
}

var _ pipeline.Classifier = (*Classifier)(nil)

// ready learns from a first run what the output really is, makes the tensors and warms up.
func (m *model) ready(s *session) (*Classifier, error) {
	shape, err := s.probe(max(m.fit.Batch, 1))
	if err != nil {
		return nil, fmt.Errorf("run the model %q on %s: %w", m.file.Path, s.provider, err)
	}
	if err := m.refit(shape); err != nil {
		return nil, fmt.Errorf("model %q: %w", m.file.Path, err)
	}
	s.fit = m.fit
	if err := s.allocate(shape, m.frames()); err != nil {
		return nil, fmt.Errorf("model %q: %w", m.file.Path, err)
	}
	p, err := prepare.New(m.fit)
	if err != nil {
		return nil, err
	}
	c := &Classifier{
		session: s, prepare: p, answer: answer.New(m.fit), info: m.info(s.provider), wish: m.fit.Wish(),
		step:   m.frames(),
		scores: make([]float32, m.fit.Classes), elements: p.Elements(),
		threads: m.Threads, runtime: m.runtime,
	}
	c.wish.Regions = slices.Clone(m.Regions)
	c.quantum, c.zero = quantisation(m.fit)
	if err := c.warmUp(); err != nil {
		return nil, fmt.Errorf("model %q on %s: %w", m.file.Path, s.provider, err)
	}
	return c, c.checkActivation(m.fit.Card)
}

// refit fits the card again when the output turned out otherwise than the file says.
func (m *model) refit(shape []int64) error {
	out := m.fit.Output
	if slices.Equal(out.Shape, shape) {
		return nil
	}
	out.Shape = slices.Clone(shape)
	if m.fit.Batch == 0 && len(shape) > 0 {
		out.Shape[0] = -1
	}
	signature := models.Signature{Inputs: []models.Tensor{m.fit.Input}, Outputs: []models.Tensor{out}}
	fit, err := m.fit.Card.Fit(signature)
	if err != nil {
		return err
	}
	m.fit = fit
	return nil
}

func (m *model) info(p Provider) pipeline.ModelInfo {
	name := cmp.Or(m.fit.Card.Name, m.Name, m.file.Name())
	return pipeline.ModelInfo{
		Name: name, Version: m.fit.Card.Version, Digest: "sha256:" + m.file.SHA256, Provider: string(p),
		MaxBatch: max(m.Batch, m.fit.Batch),
	}
}

func quantisation(f *models.Fit) (quantum, zero float32) {
	quantum = 1. / 256
	if f.Card.OutputScale != 0 {
		quantum = float32(f.Card.OutputScale)
	}
	if f.Output.Type == models.Int8 {
		zero = -128
	}
	if f.Card.OutputZeroPoint != nil {
		zero = float32(*f.Card.OutputZeroPoint)
	}
	return quantum, zero
}

// warmUp runs the batch sizes 1, 2, 4 … and the largest: what is allocated or tuned at a first run
// is then done.
func (c *Classifier) warmUp() error {
	for n := 1; ; n *= 2 {
		n = min(n, c.step)
		if err := c.session.infer(n); err != nil {
			return fmt.Errorf("warm up with %d frames: %w", n, err)
		}
		if n == c.step {
			return nil
		}
	}
}

// checkActivation catches the mistake of a second softmax, which flattens all confidences: the scores
// of two quite different pictures already are shares of 1.
func (c *Classifier) checkActivation(card *models.Card) error {
	if card.Activation != models.Softmax || len(c.scores) < 3 {
		return nil
	}
	picture := make([]byte, c.wish.Width*c.wish.Height*3)
	for _, seed := range []int{0, 7919} {
		for i := range picture {
			picture[i] = byte(128 + i*seed>>4)
		}
		c.fill(0, picture)
		if err := c.session.infer(1); err != nil {
			return fmt.Errorf("try the activation: %w", err)
		}
		c.read(0)
		sum := float32(0)
		for _, x := range c.scores {
			if x < 0 || x > 1 {
				return nil
			}
			sum += x
		}
		if sum < 0.98 || sum > 1.02 {
			return nil
		}
	}
	return card.Refuse("activation", "is softmax, but the model's scores already are probabilities that add up to 1", "activation: none")
}

// Info implements pipeline.Classifier. Its Provider is the one in use, never auto.
func (c *Classifier) Info() pipeline.ModelInfo { return c.info }

// Wish implements pipeline.Classifier.
func (c *Classifier) Wish() pipeline.Wish { return c.wish }

// Classify implements pipeline.Classifier. It allocates nothing when the answers have room for their
// predictions.
func (c *Classifier) Classify(ctx context.Context, frames []*pipeline.Frame, answers []pipeline.Answer) error {
	if len(frames) != len(answers) || len(frames) > c.info.MaxBatch {
		return fmt.Errorf("classify %d frames into %d answers: at most %d at once", len(frames), len(answers), c.info.MaxBatch)
	}
	for len(frames) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(c.step, len(frames))
		if err := c.classify(frames[:n], answers[:n]); err != nil {
			return err
		}
		frames, answers = frames[n:], answers[n:]
	}
	return nil
}

func (c *Classifier) classify(frames []*pipeline.Frame, answers []pipeline.Answer) error {
	for i, f := range frames {
		if f.Width != c.wish.Width || f.Height != c.wish.Height || f.Color != c.wish.Color || len(f.Data) != 3*f.Width*f.Height {
			return fmt.Errorf("frame %d of %q is %d×%d %s in %d bytes; the model %q wants %d×%d %s",
				f.Sequence, f.Source, f.Width, f.Height, f.Color, len(f.Data), c.info.Name, c.wish.Width, c.wish.Height, c.wish.Color)
		}
		c.fill(i, f.Data)
	}
	if err := c.session.infer(len(frames)); err != nil {
		return fmt.Errorf("run the model %q on %s: %w", c.info.Name, c.info.Provider, err)
	}
	for i := range frames {
		c.read(i)
		if err := c.answer.Decode(c.scores, &answers[i]); err != nil {
			return fmt.Errorf("answer of the model %q to frame %d of %q: %w", c.info.Name, frames[i].Sequence, frames[i].Source, err)
		}
	}
	return nil
}

// fill prepares a picture as frame i of the input.
func (c *Classifier) fill(i int, picture []byte) {
	size, _ := element(c.session.fit.Input.Type)
	part := c.session.input.bytes[i*size*c.elements : (i+1)*size*c.elements]
	switch c.session.fit.Input.Type {
	case models.Float32:
		c.prepare.Float32(view[float32](part), picture)
	case models.Float16:
		c.prepare.Float16(view[uint16](part), picture)
	default:
		c.prepare.Bytes(part, picture)
	}
}

// read takes the scores of frame i out of the output.
func (c *Classifier) read(i int) {
	size, _ := element(c.session.fit.Output.Type)
	part := c.session.output.bytes[i*size*len(c.scores) : (i+1)*size*len(c.scores)]
	switch c.session.fit.Output.Type {
	case models.Float32:
		copy(c.scores, view[float32](part))
	case models.Float16:
		for j, h := range view[uint16](part) {
			c.scores[j] = prepare.Single(h)
		}
	case models.Int8:
		for j, v := range part {
			c.scores[j] = (float32(int8(v)) - c.zero) * c.quantum
		}
	default:
		for j, v := range part {
			c.scores[j] = (float32(v) - c.zero) * c.quantum
		}
	}
}

// Detail says how the model runs, for the operator.
func (c *Classifier) Detail() string {
	if c.threads == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", c.threads)
}

// Close implements pipeline.Classifier.
func (c *Classifier) Close() error {
	defer c.runtime.open.Add(-1)
	if err := c.session.close(); err != nil {
		return fmt.Errorf("close the model %q: %w", c.info.Name, err)
	}
	return nil
}
